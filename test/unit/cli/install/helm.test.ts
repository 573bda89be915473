// helm: found, called, its complaints read; against a script in its place.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failureOf, Helm, valueArgs } from '../../../../cli/install/helm.ts'
import { sentenceOf } from '../../../../cli/output.ts'
import { codeOf } from '../../../../kit/error.ts'

const WHERE = { kubeconfig: '/k', context: 'c' }
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
    await assert.rejects((await Helm.find(folder, WHERE)).status(), (error) => sentenceOf(error) === 'helm: Kubernetes cluster unreachable')
    fakeHelm(`echo '{"status":"deployed","appVersion":"0.1.0"}'`)
    assert.deepEqual(await (await Helm.find(folder, WHERE)).status(), { state: 'deployed', version: '0.1.0' })
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
  })

  it('gets values whose commas are theirs', () => {
    assert.deepEqual(valueArgs({ image: 'a,b' }), ['--set-string', 'image.name=a\\,b'])
  })
})
