// The command line: help of every command, exit codes, parsing, views and tables.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseLabels } from '../../../cli/command/objects.ts'
import { parseTarget } from '../../../cli/connect.ts'
import { makeProgram } from '../../../cli/main.ts'
import { formatAge, formatTable, sentenceOf } from '../../../cli/output.ts'
import { VIEWS, type ZtunnelDump } from '../../../cli/ztunnel-views.ts'
import { objectFailure } from '../../../objects/errors.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')

describe('command line', () => {
  const names = makeProgram().commands.map((command) => command.name())
  it('has every verb', () => {
    const verbs = ['up', 'down', 'exec', 'apply', 'delete', 'get', 'label', 'logs', 'status', 'check', 'ztunnel-config', 'release']
    assert.deepEqual(
      verbs.filter((verb) => !names.includes(verb)),
      [],
    )
  })
  it('gives help for each', () => {
    for (const command of makeProgram().commands) {
      const text = command.helpInformation()
      assert.match(text, new RegExp(`^Usage: weft ${command.name()}`))
      assert.ok(command.description().length > 10)
    }
  })
  const rows: { args: string[]; status: number; says: RegExp }[] = [
    { args: ['--help'], status: 0, says: /Usage: weft/ },
    { args: ['--version'], status: 0, says: /^0\.1\.0/ },
    { args: ['frob'], status: 2, says: /unknown command/ },
    { args: ['up', '--nodes', 'x'], status: 2, says: /a number from 1/ },
    { args: ['up', '--image', 'x'], status: 2, says: /NAME=DIR/ },
    { args: ['get'], status: 2, says: /missing required argument/ },
    { args: ['ztunnel-config', 'toasters'], status: 2, says: /use one of workloads/ },
    { args: ['get', 'pods', '--name', '../x'], status: 1, says: /^weft: the name of a mesh/ },
  ]
  for (const row of rows)
    it(`weft ${row.args.join(' ')} ends with ${row.status}`, () => {
      const { status, stdout, stderr } = spawnSync(join(ROOT, 'weft'), row.args, { encoding: 'utf8' })
      assert.equal(status, row.status, stderr)
      assert.match(row.status === 0 ? stdout : stderr, row.says)
      if (row.status === 1) assert.equal(stderr.trim().split('\n').length, 1)
    }).timeout(10_000)
})

describe('parsing', () => {
  it('reads labels', () => {
    assert.deepEqual(parseLabels(['a=b', 'istio.io/dataplane-mode=ambient', 'c-', 'd=']), {
      a: 'b',
      'istio.io/dataplane-mode': 'ambient',
      c: null,
      d: '',
    })
    for (const bad of ['', '-', '=x', 'a']) assert.throws(() => parseLabels([bad]), { code: 'BAD_REQUEST' })
  })
  it('reads targets', () => {
    assert.deepEqual(parseTarget('shop/web'), { namespace: 'shop', name: 'web' })
    assert.deepEqual(parseTarget('web'), { namespace: 'default', name: 'web' })
  })
})

describe('output', () => {
  it('pads tables', () => {
    assert.equal(
      formatTable(
        ['A', 'LONG'],
        [
          ['xyz', '1'],
          ['x', '22'],
        ],
      ),
      'A    LONG\nxyz  1\nx    22',
    )
  })
  it('shortens ages', () => {
    const at = (seconds: number): string => new Date(1_000_000_000_000 - seconds * 1000).toISOString()
    assert.deepEqual(
      [5, 300, 7300, 200_000].map((seconds) => formatAge(at(seconds), 1_000_000_000_000)),
      ['5s', '5m', '2h', '2d'],
    )
  })
  it('says what the server said, with the hint', () => {
    assert.equal(sentenceOf(objectFailure('CONFLICT', { what: 'it changed' })), 'it changed; read it again and repeat the change')
    assert.equal(sentenceOf(new Error('x')), 'x')
  })
})

describe('ztunnel-config views', () => {
  const dump: ZtunnelDump = {
    workloads: [
      { namespace: 'shop', name: 'web-1', workloadIps: ['10.244.1.7'], node: 'node-1', protocol: 'HBONE' },
      { namespace: 'shop', name: 'new', pending: true, protocol: 'HBONE' },
    ],
    services: [
      { namespace: 'shop', name: 'web', vips: ['/10.96.1.1'], endpoints: { a: { status: 'Healthy' }, b: { status: 'Unhealthy' } } },
    ],
    policies: [{ namespace: 'shop', name: 'deny', action: 'Deny', scope: 'Namespace' }],
    certificates: [{ identity: 'spiffe://cluster.local/ns/shop/sa/web', state: 'Initializing', certChain: [] }],
    workloadState: {
      u: {
        info: { name: 'web-1', namespace: 'shop' },
        connections: {
          inbound: [{ src: '10.244.2.8:1', actualDst: '10.244.1.7:80', protocol: 'HBONE', identity: 'spiffe://x' }],
          outbound: [],
        },
      },
    },
  }
  const rows: { view: string; want: string[][] }[] = [
    {
      view: 'workloads',
      want: [
        ['shop', 'web-1', '10.244.1.7', 'node-1', 'None', 'HBONE'],
        ['shop', 'new', '-', '-', 'None', 'PENDING'],
      ],
    },
    { view: 'services', want: [['shop', 'web', '10.96.1.1', 'None', '1/2']] },
    { view: 'policies', want: [['shop', 'deny', 'Deny', 'Namespace']] },
    { view: 'certificates', want: [['spiffe://cluster.local/ns/shop/sa/web', 'Leaf', 'Initializing', 'false', '-', '-', '-']] },
    { view: 'connections', want: [['web-1.shop', 'Inbound', '10.244.1.7:80', '10.244.2.8:1', 'spiffe://x', 'HBONE']] },
  ]
  for (const row of rows)
    it(row.view, () => {
      assert.deepEqual(VIEWS[row.view]?.rows(dump, 0), row.want)
      assert.deepEqual(VIEWS[row.view]?.rows({}, 0), [])
    })
})
