// A Gateway of a waypoint class becomes a pod with what a waypoint needs: token, roots, a way to the control plane, no rights. And
// it goes with its Gateway.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import type { Deployment, MeshObject, Pod } from '../../model/object.ts'
import { type TestMesh, type TestPod, testMesh } from '../support/mesh.ts'

const WEFT = join(import.meta.dirname, '..', '..', 'weft')
const GATEWAY = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'way', namespace: 'shop' },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
}
/** Serves the probe, says what it was started with, and asks the control plane for TLS. */
const STAND_IN = `
import { readFileSync, accessSync, constants } from 'node:fs'
import { createServer } from 'node:http'
import tls from 'node:tls'
const args = process.argv.slice(1)
const after = (flag) => args[args.indexOf(flag) + 1]
const claims = JSON.parse(Buffer.from(readFileSync(after('--token'), 'utf8').split('.')[1], 'base64url'))
const report = { args, aud: claims.aud, sub: claims.sub, pod: claims['kubernetes.io'].pod.name, uid: process.getuid(), program: '' }
report.capabilities = /CapEff:\\s+(\\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]
report.program = readFileSync('/weft/package.json', 'utf8').includes('"weft"')
try { accessSync('/weft', constants.W_OK) } catch (error) { report.writes = error.code }
const [host, port] = after('--xds-address').split(':')
const options = { host, port, ca: readFileSync(after('--root-cert')), servername: 'istiod.istio-system.svc', ALPNProtocols: ['h2'] }
const answer = async (response) => {
  const socket = tls.connect(options)
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
  report.authorized = socket.authorized
  socket.destroy()
  response.end(JSON.stringify(report))
}
createServer((request, response) => {
  if (request.url === '/healthz/ready') return response.end()
  answer(response).catch((error) => response.writeHead(500).end(String(error)))
}).listen(15021, '::')
process.on('SIGTERM', () => process.exit(0))
`

describe('the pod of a waypoint', () => {
  let mesh: TestMesh

  before(async () => {
    const objects = [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }, GATEWAY]
    mesh = await testMesh({ nodes: 1, objects, waits: false })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
  })

  it('is made with account, service and roots, and is told who it is', async () => {
    const deployment = await mesh.until(
      'the Deployment',
      () => mesh.mesh.store.find('deployments', 'shop', 'way') as Deployment | undefined,
    )
    for (const kind of ['serviceaccounts', 'services']) await mesh.until(kind, () => mesh.mesh.store.find(kind, 'shop', 'way'))
    const pod = await standIn(mesh, deployment)
    const got = await pod.script(`console.log(await (await fetch('http://127.0.0.1:15021/')).text())`)
    const report = JSON.parse(got.stdout) as Record<string, unknown> & { args: string[] }
    assert.deepEqual(
      { ...report, args: undefined },
      {
        args: undefined,
        aud: ['istio-ca'],
        sub: 'system:serviceaccount:shop:way',
        pod: 'stand-in',
        uid: 1337,
        program: true,
        capabilities: '0000000000000000',
        writes: 'EACCES',
        authorized: true,
      },
    )
    const said = new Map(report.args.flatMap((word, i, all) => (i % 2 === 0 ? [[word, all[i + 1] ?? '']] : [])))
    assert.equal(said.get('--gateway'), 'shop/way')
    assert.equal(said.get('--xds-address'), '172.30.0.2:15012')
    assert.equal(said.get('--service-account'), 'way')
    assert.equal(said.get('--instance-ip'), pod.ip)
    assert.equal(said.get('--node'), 'node-1')
    assert.equal(said.get('--pod-name'), 'stand-in')
  })

  it('is asked for, shown and deleted on the command line', async () => {
    // Not spawnSync: the mesh's API is served by this process.
    const weft = (...words: readonly string[]): Promise<{ status: number; said: string }> =>
      new Promise((resolve) => {
        execFile(WEFT, ['waypoint', ...words, '--name', mesh.mesh.layout.name], (error, stdout, stderr) =>
          resolve({ status: Number(error?.code ?? 0), said: stdout + stderr }),
        )
      })
    const labelsOf = (): unknown => mesh.mesh.store.get('namespaces', undefined, 'shop').metadata.labels
    assert.match((await weft('apply', 'two', '-n', 'shop', '--for', 'all', '--enroll-namespace')).said, /two applied\n.*uses waypoint two/s)
    assert.deepEqual(labelsOf(), { 'istio.io/use-waypoint': 'two' })
    assert.deepEqual((await weft('apply', 'way', '-n', 'shop', '--enroll-namespace')).status, 1)
    assert.deepEqual(labelsOf(), { 'istio.io/use-waypoint': 'two' })
    assert.equal((await weft('apply', 'way', '-n', 'shop', '--enroll-namespace', '--overwrite')).status, 0)
    assert.deepEqual(labelsOf(), { 'istio.io/use-waypoint': 'way' })
    const listed = (await weft('list', '-n', 'shop')).said
    assert.match(listed, /^NAMESPACE +NAME +TRAFFIC TYPE +PROGRAMMED\n/)
    assert.match(listed, /shop +two +all /)
    assert.match(listed, /shop +way +service /)
    const items = (JSON.parse((await weft('list', '-A', '-o', 'json')).said) as { items: MeshObject[] }).items
    assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ['two', 'way'])
    await mesh.until('the status says more', async () => /Accepted/.test((await weft('status', 'two', '-n', 'shop')).said))
    assert.deepEqual((await weft('status', 'three', '-n', 'shop')).status, 1)
    assert.equal((await weft('delete', 'two', '-n', 'shop')).status, 0)
    assert.deepEqual(await weft('delete', 'two', '-n', 'shop'), { status: 1, said: 'weft: there is no waypoint shop/two\n' })
    assert.equal((await weft('apply', 'no-such', '-n', 'nowhere')).status, 1)
    await mesh.label('shop', { 'istio.io/use-waypoint': null })
  })

  it('goes with its Gateway', async () => {
    await mesh.client.delete('gateways', 'shop', 'way')
    await mesh.until('everything is gone', () =>
      ['deployments', 'services', 'serviceaccounts'].every((kind) => mesh.mesh.store.find(kind, 'shop', 'way') === undefined),
    )
  })
})

/** A pod of the Deployment's template that runs a script in place of the image's program. */
async function standIn(mesh: TestMesh, deployment: Deployment): Promise<TestPod> {
  const template = deployment.spec?.template
  assert.ok(template)
  const [container] = template.spec.containers
  const labels = { ...template.metadata?.labels, 'gateway.networking.k8s.io/gateway-name': 'other' }
  const command = ['node', '--input-type=module', '-e', STAND_IN, '--']
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'stand-in', namespace: 'shop', labels },
    spec: { ...template.spec, containers: [{ ...container, name: 'waypoint', command }] },
  }
  await mesh.apply(pod)
  return mesh.pod('shop/stand-in')
}
