// The agent with a kernel that panics when something is done out of order, a ztunnel and an object API that can fail.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CapturedPod } from '../../../bpf/datapath.ts'
import { Agent } from '../../../cni/agent.ts'
import { AgentMetrics } from '../../../cni/metrics.ts'
import { PodFiles, type PodPlace } from '../../../cni/pods.ts'
import { Publisher } from '../../../cni/publish.ts'
import { Steps } from '../../../cni/steps.ts'
import { codeOf } from '../../../kit/error.ts'
import type { IpAddress } from '../../../model/address.ts'
import type { MeshObject, Namespace, Pod } from '../../../model/object.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { silentLog } from '../../support/netns-lab.ts'

const PORTS = [15_001, 15_006, 15_008, 15_053]

class Bench {
  readonly clock = new FakeClock()
  readonly directory: string
  readonly kernel = new Set<string>()
  readonly log: string[] = []
  readonly events: MeshObject[] = []
  annotation: string | null | undefined
  labels: Record<string, string> = {}
  podLabels: Record<string, string> = {}
  failing: string | undefined
  nack: Error | undefined
  listeners = PORTS
  carried = 0
  isApiDown = false
  isNetnsGone = false
  readonly agent: Agent

  constructor(directory: string) {
    this.directory = directory
    const files = new PodFiles(join(directory, 'cni'), silentLog)
    const publisher = new Publisher({ client: this.#client(), node: 'node-1', log: silentLog, clock: this.clock, uidOf: () => 'u1' })
    const ztunnels = {
      add: async () => {
        this.log.push('add')
        if (this.nack !== undefined) throw this.nack
      },
      remove: async () => void this.log.push('del'),
      expect: () => void this.log.push('expect'),
      pids: () => [],
    }
    const steps = new Steps({
      datapath: this.#datapath(),
      ztunnels,
      publisher,
      clock: this.clock,
      requiredPorts: PORTS,
      releaseWaitMs: 2_000,
      countConnections: () => ({ carried: this.carried, waiting: 0 }),
      open: () => {
        if (this.isNetnsGone) throw Object.assign(new Error('gone'), { code: 'NETNS_GONE' })
        return { fd: 3, [Symbol.dispose]: () => undefined }
      },
    })
    this.agent = new Agent({
      node: 'node-1',
      steps,
      files,
      ztunnels,
      publisher,
      objects: { pod: () => this.pod(), namespace: () => this.namespace() },
      excludedNamespaces: new Set(['kube-system']),
      metrics: new AgentMetrics(),
      log: silentLog,
      clock: this.clock,
      checkNetns: () => {
        if (this.isNetnsGone) throw Object.assign(new Error('gone'), { code: 'NETNS_GONE' })
      },
    })
  }

  pod(): Pod {
    return pod(this.podLabels)
  }

  namespace(): Namespace {
    return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: this.labels } }
  }

  label(isAmbient: boolean): void {
    this.labels = isAmbient ? { 'istio.io/dataplane-mode': 'ambient' } : {}
    this.agent.namespaceChanged('shop')
  }

  add(place = PLACE): Promise<string> {
    return this.agent.add(place, this.pod(), this.namespace(), 8_000).catch((error: unknown) => codeOf(error))
  }

  get stage(): string | undefined {
    return this.agent.runners().get('u1')?.stage
  }

  async settled(): Promise<void> {
    for (let i = 0; i < 30; i++) await settle()
  }

  #client() {
    return {
      patch: async (_kind: string, _ns: string | undefined, _name: string, patch: object): Promise<MeshObject> => {
        if (this.isApiDown) throw new Error('API_UNREACHABLE')
        this.annotation = (patch as Pod).metadata.annotations?.['ambient.istio.io/redirection'] as string | null
        this.log.push(`annotate ${this.annotation}`)
        if (this.annotation === 'enabled') assert.ok(this.kernel.has('guard'), 'published without guard')
        return pod({})
      },
      apply: async (event: object): Promise<MeshObject> => {
        this.events.push(event as MeshObject)
        return pod({})
      },
    }
  }

  #datapath() {
    const step = (name: string, needs: readonly string[], forbids: readonly string[], isOn: boolean) => (captured: CapturedPod) => {
      assert.equal(captured.uid, 'u1')
      for (const need of needs) assert.ok(this.kernel.has(need), `${name} without ${need}`)
      for (const other of forbids) assert.ok(!this.kernel.has(other), `${name} with ${other}`)
      if (this.failing === name) throw Object.assign(new Error(`${name} refused`), { code: 'MAP_FULL' })
      const bit = name.replace('un', '')
      if (isOn) this.kernel.add(bit)
      else this.kernel.delete(bit)
      this.log.push(name)
    }
    return {
      steerInbound: step('steer', [], [], true),
      captureOutbound: step('capture', ['steer'], [], true),
      guardOn: step('guard', ['steer', 'capture'], [], true),
      guardOff: step('unguard', [], [], false),
      releaseOutbound: step('uncapture', [], ['guard'], false),
      unsteerInbound: step('unsteer', [], ['guard', 'capture'], false),
      leave: () => undefined,
      forget: () => {
        this.kernel.clear()
        this.log.push('forget')
      },
      inspect: () => ({ inbound: true, outbound: true, guard: true, listeners: this.listeners }),
    }
  }
}

const PLACE: PodPlace = {
  uid: 'u1',
  namespace: 'shop',
  name: 'cart',
  serviceAccount: 'cart',
  netns: '/run/netns/x',
  netnsInode: 1n,
  cookie: 1n,
  ips: ['10.244.1.10' as IpAddress],
  hostIfindex: 7,
  bypassesInbound: false,
}

function pod(labels: Record<string, string>): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'cart', namespace: 'shop', uid: 'u1', labels }, spec: { containers: [] } }
}

describe('cni/agent', () => {
  let directory: string
  let bench: Bench
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-agent-'))
    bench = new Bench(directory)
  })
  afterEach(() => {
    bench.agent.stop()
    rmSync(directory, { recursive: true })
  })

  it('enrols and releases in the order of the design', async () => {
    bench.label(true)
    assert.equal(await bench.add(), 'enrolled')
    assert.deepEqual(bench.log, ['add', 'steer', 'capture', 'guard', 'annotate enabled'])
    bench.log.length = 0
    bench.label(false)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.log], ['quiescing', ['annotate null']])
    await bench.clock.advance(1_999)
    assert.equal(bench.stage, 'quiescing')
    bench.carried = 1
    await bench.clock.advance(2)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.log], ['parting', ['annotate null', 'unguard', 'uncapture', 'unsteer']])
    bench.carried = 0
    await bench.clock.advance(500)
    await bench.settled()
    assert.equal(bench.stage, 'out')
    assert.equal(bench.log.at(-1), 'del')
  })

  it('a pod that is not to be enrolled starts at once', async () => {
    assert.equal(await bench.add(), 'recorded')
    assert.deepEqual([bench.stage, bench.log], ['out', []])
  })

  it('a label set again cancels the release', async () => {
    bench.label(true)
    await bench.add()
    bench.label(false)
    await bench.settled()
    bench.log.length = 0
    bench.label(true)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.annotation], ['enrolled', 'enabled'])
    assert.deepEqual(bench.log, ['add', 'steer', 'capture', 'guard', 'annotate enabled'])
  })

  it('a refusal by ztunnel: pending, an event, nothing captured; tried again with back-off', async () => {
    bench.label(true)
    bench.nack = Object.assign(new Error('port 15001 is in use'), { code: 'ZDS_NACK' })
    assert.equal(await bench.add(), 'ENROL_FAILED')
    assert.deepEqual([bench.stage, bench.annotation, bench.kernel.size], ['failed', 'pending', 0])
    assert.match(JSON.stringify(bench.events[0]), /"reason":"EnrolmentFailed".*port 15001 is in use/)
    bench.nack = undefined
    await bench.clock.advance(700)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.annotation], ['enrolled', 'enabled'])
  })

  it('an ack without listeners is not enough', async () => {
    bench.label(true)
    bench.listeners = [15_001, 15_006, 15_053]
    const added = bench.add()
    await bench.clock.advance(600)
    assert.equal(await added, 'ENROL_FAILED')
    assert.match(JSON.stringify(bench.events[0]), /ports=15008/)
    assert.equal(bench.kernel.size, 0)
  })

  for (const failing of ['steer', 'capture', 'guard']) {
    it(`undoes everything when ${failing} fails`, async () => {
      bench.label(true)
      bench.failing = failing
      assert.equal(await bench.add(), 'ENROL_FAILED')
      assert.deepEqual([bench.annotation, [...bench.kernel]], ['pending', []])
    })
  }

  it('keeps the capture of a pod that was enrolled when it fails later', async () => {
    bench.label(true)
    await bench.add()
    bench.nack = new Error('no listener')
    bench.agent.podLost('u1', bench.nack)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.annotation, bench.kernel.size], ['failed', 'pending', 3])
    bench.nack = undefined
    bench.agent.retryAll()
    await bench.settled()
    assert.deepEqual([bench.stage, bench.annotation], ['enrolled', 'enabled'])
  })

  it('a release whose guard cannot be taken off is tried again', async () => {
    bench.label(true)
    await bench.add()
    bench.failing = 'unguard'
    bench.label(false)
    await bench.settled()
    await bench.clock.advance(2_100)
    await bench.settled()
    assert.equal(bench.stage, 'stuck')
    bench.failing = undefined
    await bench.clock.advance(700)
    await bench.settled()
    await bench.clock.advance(500)
    await bench.settled()
    assert.deepEqual([bench.stage, bench.kernel.size], ['out', 0])
  })

  it('waits for the API before it takes capture away', async () => {
    bench.label(true)
    await bench.add()
    bench.isApiDown = true
    bench.label(false)
    await bench.clock.advance(10_000)
    assert.deepEqual([bench.stage, bench.kernel.size], ['unpublishing', 3])
    bench.isApiDown = false
    // the next try is anywhere within the back-off; what follows waits for 2 s
    for (let i = 0; i < 300 && bench.stage === 'unpublishing'; i++) await bench.clock.advance(100)
    assert.deepEqual([bench.stage, bench.kernel.size], ['quiescing', 3])
  })

  it('forgets a removed pod before the answer, twice if asked', async () => {
    bench.label(true)
    await bench.add()
    bench.agent.remove('u1')
    assert.equal(bench.kernel.size, 0)
    assert.equal(bench.agent.runners().size, 0)
    bench.agent.remove('u1')
    assert.deepEqual(new PodFiles(join(directory, 'cni'), silentLog).load(), [])
  })

  it('says what is wrong when a pod is removed while it waits', async () => {
    bench.label(true)
    bench.listeners = []
    const added = bench.add()
    await settle()
    bench.agent.remove('u1')
    assert.equal(await added, 'POD_REPLACED')
  })

  it('a new sandbox of the same pod, and a pod with a dead one’s address', async () => {
    bench.label(true)
    await bench.add()
    bench.log.length = 0
    assert.equal(await bench.add({ ...PLACE, cookie: 2n }), 'enrolled')
    assert.deepEqual(bench.log.slice(0, 3), ['forget', 'del', 'add'])
    assert.equal(await bench.add({ ...PLACE, cookie: 2n }), 'enrolled')
  })

  for (const stage of [
    'announcing',
    'steering',
    'capturing',
    'guarding',
    'publishing',
    'undoing',
    'marking',
    'failed',
    'securing',
  ] as const) {
    it(`goes on after a restart in ${stage}`, async () => {
      const isLate = stage === 'publishing' || stage === 'securing'
      if (stage !== 'announcing') bench.kernel.add('steer')
      if (stage !== 'announcing' && stage !== 'steering' && stage !== 'capturing') bench.kernel.add('capture')
      if (isLate) bench.kernel.add('guard')
      const files = new PodFiles(join(directory, 'cni'), silentLog)
      files.save({ place: PLACE, enrolment: { stage, wanted: 'in', isPublished: isLate } })
      bench.agent.restore()
      await bench.clock.advance(1_000)
      await bench.settled()
      assert.deepEqual([bench.stage, bench.annotation, bench.kernel.size], ['enrolled', 'enabled', 3])
      assert.equal(bench.log[0], 'expect')
    })
  }

  for (const stage of ['unpublishing', 'quiescing', 'unguarding', 'uncapturing', 'unsteering', 'parting', 'retracting', 'stuck'] as const) {
    it(`goes on after a restart in ${stage}`, async () => {
      const files = new PodFiles(join(directory, 'cni'), silentLog)
      files.save({ place: PLACE, enrolment: { stage, wanted: 'out', isPublished: true } })
      bench.agent.restore()
      await bench.clock.advance(4_000)
      await bench.settled()
      assert.deepEqual([bench.stage, bench.kernel.size], ['out', 0])
      assert.equal(bench.log.at(-1), 'del')
    })
  }

  it('drops the record of a pod that died while no agent ran', async () => {
    const files = new PodFiles(join(directory, 'cni'), silentLog)
    files.save({ place: PLACE, enrolment: { stage: 'enrolled', wanted: 'in', isPublished: true } })
    bench.isNetnsGone = true
    bench.agent.restore()
    await bench.settled()
    assert.deepEqual([bench.stage, files.load()], [undefined, []])
    assert.ok(bench.log.includes('forget') && bench.log.includes('del'))
  })

  it('tells a pod that asks for what cannot be, once', async () => {
    bench.podLabels = { 'istio.io/dataplane-mode': 'ambient' }
    const odd: Pod = { ...bench.pod(), spec: { containers: [], hostNetwork: true } }
    for (let i = 0; i < 3; i++) assert.equal(await bench.agent.add(PLACE, odd, undefined, 1000), 'recorded')
    assert.equal(bench.events.length, 1)
    assert.match(JSON.stringify(bench.events), /NotEnrolled/)
  })
})
