// helm: found, called, its complaints read; against a script in its place.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failureOf, Helm, type HelmCluster, valueArgs } from '../../../../cli/install/helm.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'

const WHERE: HelmCluster = { kubeconfig: '/k', context: 'c', patiently: (work) => work() }
/** Three tries. */
const PATIENT: HelmCluster = {
  ...WHERE,
  patiently: async (work) => {
    for (const _ of [1, 2])
      try {
        return await work()
      } catch (error) {
        if (codeOf(error) !== 'CLUSTER_UNREACHABLE') throw error
      }
    return work()
  },
}
let folder: string

/** A program `helm` that writes its arguments down and answers by the script. */
function fakeHelm(script: string): void {
  writeFileSync(join(folder, 'helm'), `#!/bin/sh\necho "$*" >> ${folder}/calls\ncase "$*" in version*) echo v4.3.1;; *) ${script};; esac\n`)
  chmodSync(join(folder, 'helm'), 0o755)
}
const calls = (): string[] => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')

describe('helm', () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-helm-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('is missed with the way to get it', async () => {
    await assert.rejects(
      Helm.find(`/nowhere:${folder}`, WHERE),
      (error) => codeOf(error) === 'HELM_MISSING' && /helm\.sh/.test(sentenceOf(error)),
    )
  })

  it('is too old', async () => {
    writeFileSync(join(folder, 'helm'), '#!/bin/sh\necho v3.13.9\n', { mode: 0o755 })
    await assert.rejects(Helm.find(folder, WHERE), (error) => codeOf(error) === 'HELM_TOO_OLD' && /v3\.13\.9/.test(sentenceOf(error)))
  })

  it('gets the cluster and the values, the image last', async () => {
    fakeHelm('true')
    const helm = await Helm.find(`${folder}:/usr/bin`, WHERE)
    await helm.install({ set: ['a=b', 'c=d'], values: ['v.yaml'], image: 'h/weft:1' })
    const last = calls().at(-1) ?? ''
    assert.match(
      last,
      /^install weft .*\/deploy\/chart --namespace weft-system --values v\.yaml --set a=b --set c=d --set-string image\.name=h\/weft:1/,
    )
    assert.match(last, /--kubeconfig \/k --kube-context c$/)
  })

  it('needs no cluster for a template', async () => {
    fakeHelm('echo kind: X')
    const helm = await Helm.find(folder, WHERE)
    assert.equal(await helm.template({}), 'kind: X\n')
    assert.doesNotMatch(calls().at(-1) ?? '', /--kubeconfig|--kube-context/)
  })

  it('tells a release that is not there from an answer that failed', async () => {
    fakeHelm('echo "Error: release: not found" >&2; exit 1')
    assert.equal(await (await Helm.find(folder, WHERE)).status(), undefined)
    fakeHelm('echo "Error: Kubernetes cluster unreachable" >&2; exit 1')
    await assert.rejects((await Helm.find(folder, WHERE)).status(), (error) =>
      sentenceOf(error).startsWith('helm: Kubernetes cluster unreachable; '),
    )
    fakeHelm(`echo '{"status":"deployed","appVersion":"0.1.0"}'`)
    assert.deepEqual(await (await Helm.find(folder, WHERE)).status(), { state: 'deployed', version: '0.1.0' })
  })

  /** Says the first time that the network is away, and answers `get metadata` with a state. */
  const failing = (action: string, state: string): void =>
    fakeHelm(
      `case "$*" in get*) ${state === '' ? 'echo "Error: release: not found" >&2; exit 1' : `echo '{"status":"${state}"}'`};; ` +
        `${action}*) [ -e ${folder}/once ] || { touch ${folder}/once; echo 'Error: Get "https://a.example:6443": dial tcp: lookup a.example: Temporary failure in name resolution' >&2; exit 1; };; esac`,
    )
  const rows = [
    { name: 'installs again what never began', action: 'install', state: '', want: ['install', 'get', 'install'] },
    {
      name: 'takes back what it could not finish',
      action: 'install',
      state: 'pending-install',
      want: ['install', 'get', 'uninstall', 'install'],
    },
    { name: 'believes what is deployed', action: 'install', state: 'deployed', want: ['install', 'get'] },
    { name: 'upgrades again', action: 'upgrade', state: 'failed', want: ['upgrade', 'get', 'upgrade'] },
    { name: 'frees an upgrade that hangs', action: 'upgrade', state: 'pending-upgrade', want: ['upgrade', 'get', 'rollback', 'upgrade'] },
    { name: 'uninstalls again', action: 'uninstall', state: 'uninstalling', want: ['uninstall', 'get', 'uninstall'] },
    { name: 'has nothing more to uninstall', action: 'uninstall', state: '', want: ['uninstall', 'get'] },
  ] as const
  for (const { name, action, state, want } of rows)
    it(`${name} when the network was away`, async () => {
      failing(action, state)
      const helm = await Helm.find(`${folder}:/usr/bin`, PATIENT)
      await helm[action]({})
      assert.deepEqual(
        calls()
          .slice(1)
          .map((line) => line.split(' ')[0]),
        want,
      )
    })

  it('has its refusals read', () => {
    const refused = failureOf(
      "Error: values don't meet the specifications of the schema(s) in the following chart(s):\nweft:\n- at '/cni': additional properties 'mod' not allowed\n- at '/controlplane/replicas': minimum: got 0, want 1\n",
    )
    assert.equal(codeOf(refused), 'VALUES_INVALID')
    assert.match(
      sentenceOf(refused),
      /^the chart refuses these values: cni: there is no value 'mod' · controlplane\.replicas: minimum: got 0, want 1; /,
    )
    assert.equal(sentenceOf(failureOf('WARNING: x\nError: INSTALLATION FAILED: no\n')), 'helm: INSTALLATION FAILED: no')
    assert.equal(sentenceOf(failureOf('')), 'helm: no reason given')
    for (const why of [
      'Kubernetes cluster unreachable: x',
      'Get "https://a": EOF',
      'x: read tcp 1.2.3.4:5: connection reset by peer',
      'Timeout: request did not complete within requested timeout - context deadline exceeded',
    ])
      assert.equal(codeOf(failureOf(`Error: ${why}`)), 'CLUSTER_UNREACHABLE', why)
    assert.equal(codeOf(failureOf('Error: Get "https://a": dial tcp: lookup a: no such host')), 'HELM_FAILED')
  })

  it('gets values whose commas are theirs', () => {
    assert.deepEqual(valueArgs({ image: 'a,b' }), ['--set-string', 'image.name=a\\,b'])
  })
})
