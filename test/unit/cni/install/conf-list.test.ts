// Our entry in the runtime's configuration: where it goes, what is left alone.
import assert from 'node:assert/strict'
import { confFiles, insertPlugin, pluginTypes, removePlugin } from '../../../../cni/install/conf-list.ts'

const list = (...types: string[]): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'pods', disableCheck: true, plugins: types.map((type) => ({ type, mtu: 1500 })) })

describe('cni/install/conf-list', () => {
  it('knows which files the runtime reads, in its order', () => {
    const names = [
      '99-loopback.conf',
      '10-b.conflist',
      '10-a.json',
      '.10-a.conflist.weft-new',
      '05-x.conf.weft-saved',
      'README',
      '10-b.conf',
    ]
    assert.deepEqual(confFiles(names), ['10-a.json', '10-b.conf', '10-b.conflist', '99-loopback.conf'])
  })

  for (const { name, given, want } of [
    { name: 'a list of one', given: ['bridge'], want: ['bridge', 'weft-cni'] },
    { name: 'a list of several', given: ['calico', 'portmap', 'bandwidth'], want: ['calico', 'portmap', 'bandwidth', 'weft-cni'] },
    { name: 'not last any more', given: ['bridge', 'weft-cni', 'tuning'], want: ['bridge', 'tuning', 'weft-cni'] },
    { name: 'twice', given: ['bridge', 'weft-cni', 'weft-cni'], want: ['bridge', 'weft-cni'] },
    { name: 'right already', given: ['bridge', 'weft-cni'], want: undefined },
  ]) {
    it(`puts our entry last: ${name}`, () => {
      const edit = insertPlugin('10-a.conflist', list(...given))
      assert.ok(edit.ok)
      assert.equal(edit.value.name, '10-a.conflist')
      assert.equal(edit.value.retired, undefined)
      assert.deepEqual(edit.value.text === undefined ? undefined : pluginTypes('10-a.conflist', edit.value.text), want)
    })
  }

  it('keeps whatever else a list says', () => {
    const edit = insertPlugin('10-a.conflist', list('bridge'))
    assert.ok(edit.ok && edit.value.text !== undefined)
    const written = JSON.parse(edit.value.text) as { disableCheck: boolean; plugins: object[] }
    assert.equal(written.disableCheck, true)
    assert.deepEqual(written.plugins[0], { type: 'bridge', mtu: 1500 })
    assert.deepEqual(JSON.parse(removePlugin('10-a.conflist', edit.value.text) ?? ''), JSON.parse(list('bridge')))
  })

  it('makes a list of a single configuration and says what becomes of the file', () => {
    const edit = insertPlugin('10-a.conf', '{"cniVersion":"0.3.1","name":"net","type":"bridge","ipam":{"type":"host-local"}}')
    assert.ok(edit.ok && edit.value.text !== undefined)
    assert.deepEqual([edit.value.name, edit.value.retired], ['10-a.conflist', '10-a.conf'])
    assert.deepEqual(JSON.parse(edit.value.text), {
      cniVersion: '0.3.1',
      name: 'net',
      plugins: [{ type: 'bridge', ipam: { type: 'host-local' } }, { type: 'weft-cni' }],
    })
  })

  for (const [what, name, text, fault] of [
    ['half a file', 'a.conflist', '{"cniVersion":"1.0.0","na', /not JSON/],
    ['no object', 'a.conflist', '[]', /not a JSON object/],
    ['no name', 'a.conflist', '{"cniVersion":"1.0.0","plugins":[{"type":"x"}]}', /name: missing/],
    ['no plugins', 'a.conflist', '{"cniVersion":"1.0.0","name":"x","plugins":[]}', /plugins: not a list/],
    ['a plugin without a type', 'a.conflist', '{"cniVersion":"1.0.0","name":"x","plugins":[{}]}', /plugins: not a list/],
    ['ours alone', 'a.conflist', list('weft-cni'), /no plugin but ours/],
    ['a version without chaining', 'a.conflist', '{"cniVersion":"0.2.0","name":"x","plugins":[{"type":"x"}]}', /at least 0\.3\.0/],
    ['a list in a file for one', 'a.conf', list('bridge'), /type: missing/],
  ] as const) {
    it(`leaves alone what the runtime cannot use either: ${what}`, () => {
      const edit = insertPlugin(name, text)
      assert.ok(!edit.ok)
      assert.match(edit.errors.join(), fault)
      if (what !== 'ours alone') assert.equal(removePlugin(name, text), undefined)
    })
  }
})
