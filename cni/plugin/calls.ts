// What the agent does for each command of the plugin. ADD holds a pod back until it is enrolled; whatever is not to be
// enrolled passes at once. DEL, CHECK, GC and STATUS never change what a living pod has.
import { codeOf, MeshError, messageOf } from '../../kit/error.ts'
import type { Log } from '../../kit/log.ts'
import type { Namespace, Pod } from '../../model/object.ts'
import type { Agent } from '../agent.ts'
import { cniFailure } from '../errors.ts'
import type { AgentObjects } from '../objects.ts'
import { findPlace } from '../place.ts'
import type { PodPlace } from '../pods.ts'
import { type CniCall, type CniNetwork, type CniPod, parseCniCall } from './request.ts'

/** What the calls work on. */
export interface PluginCallsOptions {
  readonly agent: Pick<Agent, 'add' | 'remove' | 'isWanted' | 'uidOf' | 'uidOfContainer' | 'collect' | 'runners'>
  readonly objects: Pick<AgentObjects, 'currentPod' | 'currentNamespace'>
  readonly excludedNamespaces: ReadonlySet<string>
  readonly cmdaddTimeoutMs: number
  /** Turns the host's path of a namespace into ours. */
  netnsPath(path: string): string
  /** Why pods cannot be enrolled now: `away` = new ones only, `limited` = those that run suffer too. */
  readiness(): { readonly kind: 'ready' } | { readonly kind: 'away' | 'limited'; readonly why: string }
  /** Whether the kernel has what an enrolled pod needs. @throws MeshError NETNS_GONE */
  isWhole(uid: string): boolean
  readonly log: Log
  readonly place?: typeof findPlace
}

/** An answer: HTTP status and body, which ends with a newline or the plugin takes it as cut off. */
export interface PluginAnswer {
  readonly status: number
  readonly text: string
}

/** Codes of the CNI specification; 100 and above are ours. */
const CODES = { unknownContainer: 3, badEnvironment: 4, badConfig: 7, tryAgain: 11, notAvailable: 50, limited: 51, refused: 100 } as const

/** Nothing but success. */
const DONE: PluginAnswer = { status: 200, text: '\n' }

/** Answers calls; never rejects. */
export class PluginCalls {
  readonly #options: PluginCallsOptions

  constructor(options: PluginCallsOptions) {
    this.#options = options
  }

  /** @param headers lower-case names, `x-cni-…`. @param text what the runtime gave the plugin on stdin */
  async answer(headers: Readonly<Record<string, string | string[] | undefined>>, text: string): Promise<PluginAnswer> {
    const parsed = parseCniCall(headers, text)
    if (!parsed.ok) {
      const isConfig = parsed.errors.some((fault) => !fault.startsWith('CNI_'))
      this.#options.log.warn('plugin call cannot be read', { faults: parsed.errors.join('; ') })
      return failed(
        '1.1.0',
        400,
        isConfig ? CODES.badConfig : CODES.badEnvironment,
        'weft: the call cannot be read',
        parsed.errors.join('; '),
      )
    }
    const call = parsed.value
    try {
      return await this.#run(call)
    } catch (error) {
      const { command, pod, containerId, cniVersion } = call
      this.#options.log.warn('plugin call failed', { command, ...pod, containerId, code: codeOf(error), error: messageOf(error) })
      const status = error instanceof MeshError ? (error.row.status ?? 500) : 500
      return failed(cniVersion, status, cniCodeOf(error), `weft: ${messageOf(error)}`, codeOf(error))
    }
  }

  async #run(call: CniCall): Promise<PluginAnswer> {
    const { agent } = this.#options
    switch (call.command) {
      case 'ADD':
        return this.#add(call)
      case 'DEL':
        this.#delete(call)
        return DONE
      case 'CHECK':
        return this.#check(call)
      case 'GC':
        if (call.liveContainers !== undefined) agent.collect(new Set(call.liveContainers))
        return DONE
      case 'STATUS':
        return this.#status(call)
      default:
        return call.command satisfies never
    }
  }

  async #add(call: CniCall): Promise<PluginAnswer> {
    const { pod: name, network, cniVersion } = call
    if (network === undefined) throw cniFailure('BAD_REQUEST', { reason: 'no prevResult' })
    const passed = { status: 200, text: `${JSON.stringify({ ...network.prevResult, cniVersion })}\n` }
    if (name === undefined || this.#options.excludedNamespaces.has(name.namespace)) return passed
    const { agent, objects, log } = this.#options
    const pod = await objects.currentPod(name.namespace, name.name, name.uid)
    const namespace = await objects.currentNamespace(name.namespace)
    if (agent.isWanted(pod, namespace)) {
      await this.#enrol(call, network, pod, namespace)
      return passed
    }
    try {
      await this.#enrol(call, network, pod, namespace) // only written down, for the day that it gets the label
    } catch (error) {
      log.debug('a pod that is not to be enrolled was not written down', { ...name, error: messageOf(error) })
    }
    return passed
  }

  async #enrol(call: CniCall, network: CniNetwork, pod: Pod, namespace: Namespace | undefined): Promise<void> {
    const { agent, cmdaddTimeoutMs, netnsPath, place = findPlace } = this.#options
    const { netns, interfaceName, containerId } = call
    if (network.ips.length === 0) throw cniFailure('ADDRESS_UNKNOWN', { pod: pod.metadata.name })
    const found: PodPlace = place({ pod, netns: netnsPath(netns), ips: network.ips, interfaceName, containerId })
    await agent.add(found, pod, namespace, cmdaddTimeoutMs)
  }

  #delete({ pod, containerId }: CniCall): void {
    const { agent } = this.#options
    const uid = agent.uidOfContainer(containerId) ?? (pod === undefined ? undefined : this.#uidOf(pod))
    if (uid !== undefined) agent.remove(uid, containerId)
  }

  #uidOf(pod: CniPod): string | undefined {
    const { agent } = this.#options
    return pod.uid !== undefined && agent.runners().has(pod.uid) ? pod.uid : agent.uidOf(pod.namespace, pod.name)
  }

  #check({ containerId, pod }: CniCall): PluginAnswer {
    const { agent, isWhole } = this.#options
    const uid = agent.uidOfContainer(containerId) ?? (pod === undefined ? undefined : this.#uidOf(pod))
    const runner = uid === undefined ? undefined : agent.runners().get(uid)
    if (uid === undefined || runner === undefined || runner.enrolment.wanted === 'out') return DONE
    if (runner.stage === 'enrolled' && isWhole(uid)) return DONE
    throw cniFailure('ENROL_FAILED', { pod: runner.place.name, stage: runner.stage }, runner.failure)
  }

  #status({ cniVersion }: CniCall): PluginAnswer {
    const readiness = this.#options.readiness()
    if (readiness.kind === 'ready') return DONE
    const code = readiness.kind === 'away' ? CODES.notAvailable : CODES.limited
    return failed(cniVersion, 503, code, 'weft: pods cannot be enrolled on this node', readiness.why)
  }
}

function failed(cniVersion: string, status: number, code: number, msg: string, details: string): PluginAnswer {
  return { status, text: `${JSON.stringify({ cniVersion, code, msg, details })}\n` }
}

/** What may be better in a moment is tried again by the runtime. */
function cniCodeOf(error: unknown): number {
  if (codeOf(error) === 'NETNS_GONE') return CODES.unknownContainer
  return error instanceof MeshError && error.retry === 'no' && error.source !== 'upstream' ? CODES.refused : CODES.tryAgain
}
