// A Gateway's objects: what they say, which changes are made, and that nobody else's object is ever touched.
import assert from 'node:assert/strict'
import { Deployer } from '../../../../controlplane/deploy/deployer.ts'
import { manifestsFor } from '../../../../controlplane/deploy/manifests.ts'
import type { DeploySettings } from '../../../../controlplane/deploy/pod.ts'
import { DeployedObjects, planFor } from '../../../../controlplane/deploy/reconcile.ts'
import type { Gateway } from '../../../../model/gateway-api.ts'
import type { Deployment, MeshObject, Service } from '../../../../model/object.ts'
import { objectFailure } from '../../../../objects/errors.ts'
import { validate } from '../../../../objects/schema/validate.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { FakeSource } from '../../../support/fake-source.ts'
import { keptLog } from '../../../support/xds-pair.ts'

const SETTINGS: DeploySettings = {
  image: 'weft/waypoint',
  command: [],
  pullPolicy: undefined,
  pullSecrets: [],
  resources: { requests: { cpu: '100m', memory: '1024Mi' } },
  priorityClass: '',
  trustDomain: 'cluster.local',
  clusterId: 'Kubernetes',
  network: '',
  discoveryAddress: '172.30.0.2:15012',
  clusterDomain: 'cluster.local',
  tracing: undefined,
}

function gateway(name = 'way', spec: object = {}, metadata: object = {}): Gateway {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name, namespace: 'shop', uid: `uid-of-${name}`, ...metadata },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }], ...spec },
  }
}

/** A source that holds what a plan for the Gateway made. */
function placed(one: Gateway = gateway()): FakeSource {
  const source = new FakeSource()
  source.apply(one)
  for (const step of planFor(one, new DeployedObjects(source), SETTINGS).steps) source.apply(step.object)
  return source
}

const stepsOf = (one: Gateway, source: FakeSource): string[] =>
  planFor(one, new DeployedObjects(source), SETTINGS).steps.map((step) => `${step.do} ${step.object.kind}`)

describe('manifestsFor', () => {
  it('makes valid objects that the Gateway owns', () => {
    const objects = manifestsFor(gateway(), SETTINGS)
    assert.deepEqual(
      objects.map(({ kind }) => kind),
      ['ServiceAccount', 'Service', 'Deployment', 'PodDisruptionBudget'],
    )
    for (const object of objects) {
      assert.equal(validate(JSON.parse(JSON.stringify(object))).is, 'valid', object.kind)
      const { name, namespace, ownerReferences, labels } = object.metadata
      assert.deepEqual([name, namespace], ['way', 'shop'])
      assert.deepEqual(ownerReferences, [
        {
          apiVersion: 'gateway.networking.k8s.io/v1',
          kind: 'Gateway',
          name: 'way',
          uid: 'uid-of-way',
          controller: true,
          blockOwnerDeletion: true,
        },
      ])
      assert.deepEqual(labels, {
        'app.kubernetes.io/managed-by': 'weft',
        'gateway.networking.k8s.io/gateway-name': 'way',
        'gateway.networking.k8s.io/gateway-class-name': 'istio-waypoint',
        'istio.io/dataplane-mode': 'none',
        'sidecar.istio.io/inject': 'false',
      })
    }
  })

  it('gives the pod its identity, the roots and the whole command line, and no rights', () => {
    const deployment = manifestsFor(gateway(), SETTINGS)[2] as Deployment
    const pod = deployment.spec?.template.spec
    const container = pod?.containers[0]
    assert.equal(pod?.serviceAccountName, 'way')
    assert.equal(pod?.automountServiceAccountToken, false)
    assert.deepEqual(pod?.volumes?.[0]?.projected?.sources, [
      { serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43_200, path: 'token' } },
      { configMap: { name: 'istio-ca-root-cert', items: [{ key: 'root-cert.pem', path: 'root-cert.pem' }] } },
    ])
    assert.equal(
      container?.args?.join(' '),
      '--gateway shop/way --xds-address 172.30.0.2:15012 --ca-address 172.30.0.2:15012 --root-cert /var/run/secrets/weft/root-cert.pem ' +
        '--token /var/run/secrets/weft/token --pod-name $(POD_NAME) --pod-namespace $(POD_NAMESPACE) --service-account way ' +
        '--instance-ip $(POD_IP) --node $(NODE_NAME) --cluster-domain cluster.local --trust-domain cluster.local --cluster-id Kubernetes',
    )
    assert.deepEqual(container?.readinessProbe?.httpGet, { path: '/healthz/ready', port: 15_021 })
    assert.deepEqual(container?.securityContext?.capabilities, { drop: ['ALL'] })
    assert.ok((container?.securityContext?.runAsUser ?? 0) > 0)
  })

  it('tells the waypoint where spans go, and nothing of a URL is replaced', () => {
    const tracing = { endpoint: 'http://collector.observe:4318/$(POD_IP)', protocol: 'http', sampling: '0.5', ca: 'PEM' } as const
    const deployment = manifestsFor(gateway(), { ...SETTINGS, tracing })[2] as Deployment
    assert.deepEqual(deployment.spec?.template.spec?.containers[0]?.args?.slice(-8), [
      '--otlp-endpoint',
      'http://collector.observe:4318/$$(POD_IP)',
      '--otlp-protocol',
      'http',
      '--trace-sampling',
      '0.5',
      '--otlp-ca',
      'PEM',
    ])
  })

  it('copies labels and annotations of infrastructure, but none that mean something to the mesh', () => {
    const labels = { team: 'a', 'istio.io/dataplane-mode': 'ambient', 'gateway.networking.k8s.io/gateway-name': 'other' }
    const annotations = { note: 'b', 'ambient.istio.io/redirection': 'enabled', 'weft.dev/component': 'ztunnel' }
    const [, , deployment] = manifestsFor(gateway('way', { infrastructure: { labels, annotations } }), SETTINGS)
    const template = (deployment as Deployment).spec?.template.metadata
    assert.equal(template?.labels?.team, 'a')
    assert.equal(template?.labels?.['istio.io/dataplane-mode'], 'none')
    assert.equal(template?.labels?.['gateway.networking.k8s.io/gateway-name'], 'way')
    assert.deepEqual(template?.annotations, { note: 'b' })
  })
})

describe('the pod of a waypoint', () => {
  it('is made as the settings say', () => {
    const settings: DeploySettings = {
      ...SETTINGS,
      command: ['node', 'waypoint/main.js'],
      pullPolicy: 'Never',
      pullSecrets: ['registry'],
      priorityClass: 'weft',
      network: 'east',
    }
    const pod = (manifestsFor(gateway(), settings)[2] as Deployment).spec?.template.spec
    const [container] = pod?.containers ?? []
    assert.deepEqual([container?.command, container?.imagePullPolicy], [['node', 'waypoint/main.js'], 'Never'])
    assert.deepEqual(pod?.imagePullSecrets, [{ name: 'registry' }])
    assert.equal(pod?.priorityClassName, 'weft')
    assert.deepEqual(container?.args?.slice(-2), ['--network', 'east'])
  })

  it('runs as nobody, may write nowhere, and reads no variables of services', () => {
    const pod = (manifestsFor(gateway(), SETTINGS)[2] as Deployment).spec?.template.spec
    assert.equal(pod?.enableServiceLinks, false)
    const { runAsNonRoot, readOnlyRootFilesystem, allowPrivilegeEscalation, seccompProfile } = pod?.containers[0]?.securityContext ?? {}
    assert.deepEqual(
      { runAsNonRoot, readOnlyRootFilesystem, allowPrivilegeEscalation, seccompProfile },
      {
        runAsNonRoot: true,
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    )
  })
})

describe('planFor', () => {
  it('makes nothing of parameters that it does not know, and says so', () => {
    const infrastructure = { parametersRef: { group: '', kind: 'ConfigMap', name: 'more' } }
    const { steps, faults } = planFor(gateway('way', { infrastructure }), new DeployedObjects(new FakeSource()), SETTINGS)
    assert.deepEqual(steps, [])
    assert.match(faults.join(), /parametersRef is not supported/)
  })

  it('makes what is missing, and nothing when all is there', () => {
    const source = new FakeSource()
    assert.deepEqual(stepsOf(gateway(), source), [
      'create ServiceAccount',
      'create Service',
      'create Deployment',
      'create PodDisruptionBudget',
    ])
    assert.deepEqual(stepsOf(gateway(), placed()), [])
  })

  const names = ['none', 'Way', 'a.b', '1way', 'x'.repeat(64)]
  for (const name of names)
    it(`refuses the name ${name.slice(0, 10)}`, () => {
      const { steps, faults } = planFor(gateway(name), new DeployedObjects(new FakeSource()), SETTINGS)
      assert.deepEqual([steps.length, faults.length], [0, 1])
    })

  for (const kind of ['ServiceAccount', 'Service', 'Deployment'])
    it(`never touches somebody's ${kind} of the same name`, () => {
      const source = new FakeSource()
      const others = manifestsFor(gateway('way', {}, { uid: 'another' }), SETTINGS).find((one) => one.kind === kind) as MeshObject
      const { ownerReferences: _, ...metadata } = others.metadata
      for (const found of [{ ...others, metadata }, others]) {
        source.apply(found)
        const { steps, faults } = planFor(gateway(), new DeployedObjects(source), SETTINGS)
        assert.deepEqual(steps, [])
        assert.match(faults[0] ?? '', new RegExp(`the ${kind} shop/way exists`))
      }
    })

  it('leaves Gateways of other classes, and those going away, alone', () => {
    assert.deepEqual(stepsOf(gateway('way', { gatewayClassName: 'nginx' }), new FakeSource()), [])
    assert.deepEqual(stepsOf(gateway('way', {}, { deletionTimestamp: '2026-01-01T00:00:00Z' }), new FakeSource()), [])
  })

  it('takes away what it made when the class changes, and only that', () => {
    const source = placed()
    source.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'other', namespace: 'shop' } })
    const owned = [...source.objects('services')].find((one) => one.metadata.name === 'way')
    // Owned by the Gateway, but not made here.
    const metadata = { ...owned?.metadata, name: 'by-hand', annotations: {}, uid: 'x' }
    source.apply({ ...owned, apiVersion: 'v1', kind: 'Service', metadata } as MeshObject)
    assert.deepEqual(stepsOf(gateway('way', { gatewayClassName: 'nginx' }), source).sort(), [
      'remove Deployment',
      'remove PodDisruptionBudget',
      'remove Service',
      'remove ServiceAccount',
    ])
  })

  it('repairs what others changed and keeps what the API added', () => {
    const source = placed()
    const service = [...source.objects('services')][0] as Service
    source.apply({ ...service, spec: { ...service.spec, clusterIP: '10.96.0.7' } } as Service)
    assert.deepEqual(stepsOf(gateway(), source), [])
    source.apply({ ...service, spec: { ...service.spec, selector: { app: 'thief' } } } as Service)
    assert.deepEqual(stepsOf(gateway(), source), ['replace Service'])
  })

  it('keeps the number of replicas that the owner set', () => {
    const source = placed()
    const deployment = [...source.objects('deployments')][0] as Deployment
    source.apply({ ...deployment, spec: { ...deployment.spec, replicas: 3 } } as Deployment)
    assert.deepEqual(stepsOf(gateway(), source), [])
    const changed = { ...SETTINGS, image: 'weft/waypoint:2' }
    const [step] = planFor(gateway(), new DeployedObjects(source), changed).steps
    assert.equal((step?.object as Deployment | undefined)?.spec?.replicas, 3)
    assert.equal(step?.do, 'replace')
  })

  it('deploys again when tracing is switched on, told otherwise, or switched off', () => {
    const source = placed()
    const tracing = { endpoint: 'http://collector:4318', protocol: 'http', sampling: '1', ca: '' } as const
    for (const change of [tracing, { ...tracing, sampling: '2' }, { ...tracing, ca: 'PEM' }, undefined]) {
      const { steps } = planFor(gateway(), new DeployedObjects(source), { ...SETTINGS, tracing: change })
      assert.deepEqual(
        steps.map((step) => `${step.do} ${step.object.kind}`),
        ['replace Deployment'],
      )
      for (const { object } of steps) source.apply(object)
    }
  })
})

describe('Deployer', () => {
  function start(source: FakeSource): { deployer: Deployer; clock: FakeClock; lines: ReturnType<typeof keptLog>['lines'] } {
    const clock = new FakeClock()
    const { log, lines } = keptLog()
    const deployer = new Deployer({ source, writer: source, settings: SETTINGS, log, clock })
    source.onChange((event) => deployer.apply(event))
    return { deployer, clock, lines }
  }
  const namesOf = (source: FakeSource): string[] =>
    (['serviceaccounts', 'services', 'deployments'] as const).flatMap((kind) =>
      [...source.objects(kind)].map((one) => `${one.kind} ${one.metadata.name}`),
    )

  it('follows Gateways', async () => {
    const source = new FakeSource()
    await source.start()
    const { clock } = start(source)
    source.apply(gateway())
    await clock.advance(100)
    assert.deepEqual(namesOf(source), ['ServiceAccount way', 'Service way', 'Deployment way'])
    source.delete([...source.objects('deployments')][0] as MeshObject)
    await clock.advance(100)
    assert.ok(namesOf(source).includes('Deployment way'))
    source.apply(gateway('way', { gatewayClassName: 'nginx' }))
    await clock.advance(100)
    assert.deepEqual(namesOf(source), [])
  })

  it('says why a Gateway has no waypoint, and goes on with the others', async () => {
    const source = new FakeSource()
    await source.start()
    const { deployer, clock } = start(source)
    source.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'taken', namespace: 'shop' } }, gateway('taken'), gateway('way'))
    await clock.advance(100)
    assert.deepEqual(
      deployer.faults.map(({ kind, name }) => `${kind} ${name}`),
      ['Gateway taken'],
    )
    assert.ok(namesOf(source).includes('Deployment way'))
    source.delete([...source.objects('services')].find((one) => one.metadata.name === 'taken') as MeshObject)
    await clock.advance(100)
    assert.deepEqual(deployer.faults, [])
    assert.ok(namesOf(source).includes('Deployment taken'))
  })

  it('tries again what failed, but not what can never succeed', async () => {
    const source = new FakeSource()
    await source.start()
    const { deployer, clock, lines } = start(source)
    let isAway = true
    const create = source.create.bind(source)
    source.create = async (object) => {
      if (object.kind === 'Service' && isAway) throw objectFailure('API_UNREACHABLE')
      if (object.kind === 'Deployment' && object.metadata.name === 'bad') throw objectFailure('INVALID_OBJECT', { what: 'a label' })
      await create(object)
    }
    source.apply(gateway())
    await clock.advance(100)
    assert.ok(!namesOf(source).includes('Deployment way'))
    isAway = false
    await clock.advance(3000)
    assert.ok(namesOf(source).includes('Deployment way'))
    source.apply(gateway('bad'))
    await clock.advance(100)
    assert.equal(deployer.faults[0]?.name, 'bad')
    const said = lines.length
    await clock.advance(60_000)
    assert.equal(lines.length, said)
  })
})
