// The chart as Helm renders it: facts that must hold whatever its templates look like. No cluster.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { CHART, failureOf, NAMESPACE } from '../../cli/install/helm.ts'
import { sentenceOf } from '../../cli/output.ts'
import { readSettings as readCni } from '../../cni/settings.ts'
import { readSettings as readControlplane } from '../../controlplane/settings.ts'
import { SOURCE_KINDS } from '../../controlplane/source/source.ts'
import { readSettings as readZtunnel } from '../../ztunnel/settings.ts'
import { selfSigned } from '../support/self-signed.ts'
import { makeBinaries } from './cluster/binaries.ts'
import { attempt } from './cluster/processes.ts'

interface Container {
  readonly name: string
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: { readonly fieldRef?: object } }[]
  readonly resources?: { readonly requests?: Record<string, string>; readonly limits?: Record<string, string> }
  readonly ports?: readonly object[]
  readonly readinessProbe?: object
  readonly securityContext?: {
    readonly privileged?: boolean
    readonly readOnlyRootFilesystem?: boolean
    readonly capabilities?: { readonly add?: string[]; readonly drop?: string[] }
  }
}
interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}
interface Rendered {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> }
  readonly rules?: readonly Rule[]
  readonly spec?: {
    readonly replicas?: number
    readonly updateStrategy?: { readonly rollingUpdate?: object }
    readonly template?: { readonly metadata: { readonly labels: Record<string, string> }; readonly spec: PodSpec }
  }
}
interface PodSpec {
  readonly hostNetwork?: boolean
  readonly enableServiceLinks?: boolean
  readonly priorityClassName?: string
  readonly serviceAccountName?: string
  readonly tolerations?: readonly object[]
  readonly containers: readonly Container[]
  readonly volumes?: readonly { readonly name: string; readonly hostPath?: { readonly path: string }; readonly projected?: object }[]
}

const VARIABLES: Readonly<Record<string, string>> = {
  NODE_NAME: 'node1',
  POD_NAME: 'pod',
  POD_NAMESPACE: NAMESPACE,
  INSTANCE_IP: '10.1.2.3',
  HOST_IP: '10.1.2.3',
}
let helm: string

const run = (...words: readonly string[]) => attempt(helm, words)
async function render(...sets: readonly string[]): Promise<readonly Rendered[]> {
  const { status, stdout, stderr } = await run(
    'template',
    'weft',
    CHART,
    '--namespace',
    NAMESPACE,
    ...sets.flatMap((one) => ['--set', one]),
  )
  assert.equal(status, 0, stderr)
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as Rendered | null)
    .filter((object) => object !== null)
}
const workloads = (objects: readonly Rendered[]) => objects.filter(({ kind }) => /^(Deployment|DaemonSet)$/.test(kind))
const podOf = (objects: readonly Rendered[], name: string): PodSpec =>
  workloads(objects).find(({ metadata }) => metadata.name === name)!.spec!.template!.spec
const rulesOf = (objects: readonly Rendered[], kind: string, name: string): readonly Rule[] =>
  objects.find((one) => one.kind === kind && one.metadata.name === name)?.rules ?? []
/** `verb group/resource[name]` of each. */
const spread = (rules: readonly Rule[]): string[] =>
  rules
    .flatMap(({ apiGroups, resources, resourceNames = [''], verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          resourceNames.flatMap((name) => verbs.map((verb) => `${verb} ${group}/${resource}${name === '' ? '' : `[${name}]`}`)),
        ),
      ),
    )
    .sort()

describe('the chart', () => {
  let plain: readonly Rendered[]
  before(async function () {
    this.timeout('20m') // Helm is compiled once per machine
    helm = (await makeBinaries(['helm'], () => undefined)).path('helm')
    plain = await render()
  })

  it("the agents' metrics are served on the nodes' addresses, with their port named, when a port is given", async () => {
    assert.ok(!podOf(plain, 'cni').containers[0]?.args.some((arg) => arg.startsWith('--metrics')))
    const [container] = podOf(await render('cni.metricsPort=15024'), 'cni').containers
    assert.ok(container)
    assert.ok(container.args.includes('--metrics-port=15024') && container.args.includes('--metrics-ip=$(HOST_IP)'))
    assert.deepEqual(container.ports, [{ name: 'metrics', containerPort: 15024 }])
    assert.deepEqual(container.env?.find(({ name }) => name === 'HOST_IP')?.valueFrom?.fieldRef, { fieldPath: 'status.hostIP' })
  })

  it('passes lint, with every extra on too', async () => {
    const extras = [
      'networkPolicies.enabled=true',
      'monitoring.podMonitors.enabled=true',
      'resourceQuota.enabled=true',
      'cni.serveServices=true',
      'cni.metricsPort=15024',
    ]
    const { status, stdout, stderr } = await run('lint', '--strict', CHART, ...extras.flatMap((one) => ['--set', one]))
    assert.equal(status, 0, `${stdout}${stderr}`)
  })

  it('consists of these objects', () => {
    const named = plain.map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    assert.deepEqual(named.sort(), [
      'ClusterRole weft-cni',
      'ClusterRole weft-controlplane',
      'ClusterRoleBinding weft-cni',
      'ClusterRoleBinding weft-controlplane',
      'CustomResourceDefinition ratelimitpolicies.weft.dev',
      'DaemonSet cni',
      'DaemonSet ztunnel',
      'Deployment controlplane',
      'GatewayClass istio-waypoint',
      'GatewayClass weft-waypoint',
      'PodDisruptionBudget controlplane',
      'Role controlplane',
      'RoleBinding controlplane',
      'Service controlplane',
      'ServiceAccount cni',
      'ServiceAccount controlplane',
      'ServiceAccount ztunnel',
    ])
  })

  it('extras come by value', async () => {
    const names = async (...sets: string[]) => (await render(...sets)).map(({ kind }) => kind)
    assert.equal((await names('networkPolicies.enabled=true')).filter((kind) => kind === 'NetworkPolicy').length, 2)
    assert.equal((await names('monitoring.podMonitors.enabled=true')).filter((kind) => kind === 'PodMonitor').length, 3)
    const scraped = ['monitoring.podMonitors.enabled=true', 'cni.metricsPort=15024']
    assert.equal((await names(...scraped)).filter((kind) => kind === 'PodMonitor').length, 4)
    assert.equal((await names('resourceQuota.enabled=true')).filter((kind) => kind === 'ResourceQuota').length, 1)
    assert.equal((await names('waypointClasses={weft-waypoint}')).filter((kind) => kind === 'GatewayClass').length, 1)
  })

  it('every pod has resources, a probe, a security context, no links of Services, and is itself outside the mesh', () => {
    for (const { metadata, spec } of workloads(plain)) {
      const { template } = spec!
      assert.equal(template!.metadata.labels['istio.io/dataplane-mode'], 'none', metadata.name)
      assert.equal(template!.spec.enableServiceLinks, false, metadata.name)
      assert.match(template!.spec.priorityClassName ?? '', /^system-(node|cluster)-critical$/)
      for (const { resources, readinessProbe, securityContext, image } of template!.spec.containers) {
        assert.ok(resources?.requests?.cpu && resources.requests.memory && resources.limits?.memory, metadata.name)
        assert.ok(readinessProbe !== undefined, metadata.name)
        assert.equal(securityContext?.readOnlyRootFilesystem, true, metadata.name)
        assert.match(image, /^localhost\/weft:\d/)
      }
    }
  })

  it('only the agent is privileged; ztunnel has three capabilities, the control plane none', () => {
    const context = (name: string) => podOf(plain, name).containers[0]!.securityContext!
    assert.equal(context('cni').privileged, true)
    assert.deepEqual(context('ztunnel').capabilities, { drop: ['ALL'], add: ['NET_ADMIN', 'SYS_ADMIN', 'NET_RAW'] })
    assert.equal(context('ztunnel').privileged, false)
    assert.deepEqual(context('controlplane').capabilities, { drop: ['ALL'] })
    assert.deepEqual(podOf(plain, 'controlplane').volumes ?? [], [])
  })

  it('ztunnel is rolled out by surge, which needs a network of its own', () => {
    const set = plain.find(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === 'ztunnel')!
    assert.deepEqual(set.spec?.updateStrategy?.rollingUpdate, { maxSurge: 1, maxUnavailable: 0 })
    assert.notEqual(podOf(plain, 'ztunnel').hostNetwork, true)
    assert.equal(podOf(plain, 'cni').hostNetwork, true)
    for (const name of ['cni', 'ztunnel']) assert.deepEqual(podOf(plain, name).tolerations, [{ operator: 'Exists' }])
  })

  it('every process takes its arguments', async () => {
    const readers = { cni: readCni, controlplane: readControlplane, ztunnel: readZtunnel }
    const everything = [
      'tracing.endpoint=https://otel:4317',
      `tracing.ca=${(await selfSigned('otel')).certPem}`,
      'cidrs={10.0.0.0/8}',
      'cni.cgroup=/sys/fs/cgroup/$(NODE_NAME)',
      'cni.beside={istio}',
      'ztunnel.dnsUpstreams={10.0.0.10:53}',
      'image.pullSecrets={a,b}',
      'waypoint.priorityClass=high',
    ]
    for (const objects of [plain, await render(...everything)]) {
      for (const [name, read] of Object.entries(readers)) {
        const { args, env = [], command } = podOf(objects, name).containers[0]!
        assert.equal(command.at(-1), `${name}/main.js`)
        const known = Object.fromEntries(env.map((one) => [one.name, one.value ?? VARIABLES[one.name]]))
        const expanded = args.map((one) =>
          one.replace(/\$\((\w+)\)/g, (_, variable: string) => known[variable] ?? assert.fail(`$(${variable})`)),
        )
        const settings = read(
          name === 'cni' && !expanded.some((one) => one.startsWith('--cgroup=')) ? [...expanded, '--cgroup=/sys/fs/cgroup'] : expanded,
          known,
        )
        assert.deepEqual(settings.ok ? [] : settings.errors, [], name)
      }
    }
  })

  it('rights: no wildcards, no Secrets of others, each kind that the control plane reads', () => {
    const all = plain.flatMap(({ rules = [] }) => rules)
    for (const { apiGroups, resources, verbs } of all) assert.ok(![...apiGroups, ...resources, ...verbs].includes('*'))
    const controlplane = spread(rulesOf(plain, 'ClusterRole', 'weft-controlplane'))
    for (const kind of SOURCE_KINDS)
      for (const verb of ['list', 'watch'])
        assert.ok(
          controlplane.some((right) => right.startsWith(`${verb} `) && right.endsWith(`/${kind}`)),
          `${verb} ${kind}`,
        )
    assert.ok(!controlplane.some((right) => /\/(secrets|leases|pods\/exec|pods\/portforward|clusterroles)/.test(right)))
    assert.deepEqual(spread(rulesOf(plain, 'Role', 'controlplane')), [
      'create /secrets',
      'create coordination.k8s.io/leases',
      'get /secrets[cacerts]',
      'get /secrets[weft-ca]',
      'get coordination.k8s.io/leases[weft-leader]',
      'patch /secrets[weft-ca]',
      'patch coordination.k8s.io/leases[weft-leader]',
    ])
  })

  it('rights of the agent', async () => {
    const base = [
      'get /pods',
      'list /namespaces',
      'list /nodes',
      'list /pods',
      'list apps/daemonsets[cni]',
      'patch /nodes',
      'patch /pods/status',
      'watch /namespaces',
      'watch /nodes',
      'watch /pods',
      'watch apps/daemonsets[cni]',
    ]
    assert.deepEqual(spread(rulesOf(plain, 'ClusterRole', 'weft-cni')), base)
    const serving = await render('cni.serveServices=true')
    const more = ['list /services', 'list discovery.k8s.io/endpointslices', 'watch /services', 'watch discovery.k8s.io/endpointslices']
    assert.deepEqual(spread(rulesOf(serving, 'ClusterRole', 'weft-cni')), [...base, ...more].sort())
    assert.equal(rulesOf(plain, 'ClusterRole', 'weft-ztunnel').length, 0, 'ztunnel never asks the API')
  })

  const REFUSED = [
    { given: 'cni.mod=auto', want: "cni: there is no value 'mod'" },
    { given: 'controlplane.replicas=0', want: 'controlplane.replicas: minimum: got 0, want 1' },
    { given: 'image.pullPolicy=Sometimes', want: "image.pullPolicy: value must be one of 'Always', 'IfNotPresent', 'Never'" },
    { given: 'image.name=Bad Image', want: "image.name: 'Bad Image' is not an image such as registry.example/weft:1.0" },
    { given: 'trustDomain=A_b', want: "trustDomain: 'A_b' is not a DNS name: a-z, 0-9, - and ." },
    {
      given: 'ztunnel.resources.limits.memory=much',
      want: "ztunnel.resources.limits.memory: 'much' is not a quantity such as 100m, 0.5, 128Mi or 2Gi",
    },
    { given: 'cni.args={privileged}', want: "cni.args.0: 'privileged' is not an argument such as --name=value" },
  ]
  for (const { given, want } of REFUSED)
    it(`refuses ${given}`, async () => {
      const { status, stderr } = await run('template', 'weft', CHART, '--set', given)
      assert.notEqual(status, 0)
      assert.ok(sentenceOf(failureOf(stderr)).includes(`: ${want}; `), stderr)
    })

  it('weft install --dry-run prints what can be applied', async () => {
    const main = join(import.meta.dirname, '../../cli/main.ts')
    const path = `${join(helm, '..')}:${process.env.PATH}`
    const { status, stdout, stderr } = await attempt(
      process.execPath,
      [main, 'install', '--dry-run', '--image', 'x.example/weft:2', '--kubeconfig', '/nowhere'],
      { env: { PATH: path } },
    )
    assert.equal(status, 0, stderr)
    const objects = parseAllDocuments(stdout)
      .map((document) => document.toJS() as Rendered | null)
      .filter((object) => object !== null)
    assert.equal(objects[0]?.kind, 'Namespace')
    assert.equal(objects.filter(({ kind }) => kind === 'CustomResourceDefinition').length, 11)
    assert.equal(podOf(objects, 'cni').containers[0]?.image, 'x.example/weft:2')
  })
})
