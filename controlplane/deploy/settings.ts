// The control plane's settings about the pods of waypoints: rows of its table, and what becomes of them.
import type { SettingRow, Settings } from '../../kit/settings.ts'
import type { ResourceRequirements } from '../../model/container.ts'
import type { StringMap } from '../../model/object.ts'
import type { DeploySettings } from './pod.ts'

/** The rows; part of the table of `controlplane/settings.ts`. */
export const WAYPOINT_ROWS = {
  waypointImage: {
    type: 'text',
    env: 'WEFT_WAYPOINT_IMAGE',
    flag: '--waypoint-image',
    default: 'weft/waypoint',
    help: 'image of the pods that are made for Gateways of a waypoint class',
  },
  waypointCommand: {
    type: 'text',
    env: 'WEFT_WAYPOINT_COMMAND',
    flag: '--waypoint-command',
    default: '',
    help: "what is run in that image, words separated by spaces; unset = the image's entry point",
  },
  waypointPullPolicy: {
    type: 'text',
    env: 'WEFT_WAYPOINT_PULL_POLICY',
    flag: '--waypoint-pull-policy',
    default: '',
    help: "Always, IfNotPresent or Never; unset = the cluster's default",
  },
  waypointPullSecrets: {
    type: 'text',
    env: 'WEFT_WAYPOINT_PULL_SECRETS',
    flag: '--waypoint-pull-secrets',
    default: '',
    help: "names of Secrets in the Gateway's namespace, separated by commas",
  },
  waypointResources: {
    type: 'text',
    env: 'WEFT_WAYPOINT_RESOURCES',
    flag: '--waypoint-resources',
    default: '{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"1Gi"}}',
    help: 'requests and limits of a waypoint, JSON; {} = none',
  },
  waypointPriorityClass: {
    type: 'text',
    env: 'WEFT_WAYPOINT_PRIORITY_CLASS',
    flag: '--waypoint-priority-class',
    default: '',
    help: 'priority class of waypoint pods; unset = none',
  },
  waypointDiscovery: {
    type: 'text',
    env: 'WEFT_WAYPOINT_DISCOVERY',
    flag: '--waypoint-discovery',
    default: 'controlplane.weft-system.svc:15012',
    help: 'host:port of xDS and certificates, as waypoint pods reach it',
  },
} as const satisfies Readonly<Record<string, SettingRow>>

type WaypointSettings = Settings<typeof WAYPOINT_ROWS>

const POLICIES = ['Always', 'IfNotPresent', 'Never'] as const
const DNS_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
const QUANTITY = /^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/

/** Every fault, as one sentence that begins with the flag. */
export function waypointSettingFaults(settings: WaypointSettings): string[] {
  const { waypointPullPolicy, waypointPullSecrets, waypointPriorityClass } = settings
  const faults: string[] = []
  const say = (row: SettingRow, sentence: string): void => void faults.push(`${row.flag}: ${sentence}`)
  if (waypointPullPolicy !== '' && pullPolicyOf(waypointPullPolicy) === undefined)
    say(WAYPOINT_ROWS.waypointPullPolicy, `${JSON.stringify(waypointPullPolicy)} is none of ${POLICIES.join(', ')}`)
  for (const name of wordsOf(waypointPullSecrets, ',').filter((one) => !DNS_NAME.test(one)))
    say(WAYPOINT_ROWS.waypointPullSecrets, `${JSON.stringify(name)} is not the name of a Secret`)
  if (waypointPriorityClass !== '' && !DNS_NAME.test(waypointPriorityClass))
    say(WAYPOINT_ROWS.waypointPriorityClass, `${JSON.stringify(waypointPriorityClass)} is not a name`)
  if (resourcesOf(settings.waypointResources) === undefined)
    say(WAYPOINT_ROWS.waypointResources, 'JSON such as {"requests":{"cpu":"100m"},"limits":{"memory":"1Gi"}} is needed')
  return faults
}

/** @param settings without faults */
export function deploySettingsOf(
  settings: WaypointSettings & Pick<DeploySettings, 'clusterDomain' | 'trustDomain' | 'clusterId' | 'network'>,
  tracing: DeploySettings['tracing'],
): DeploySettings {
  const { clusterDomain, trustDomain, clusterId, network } = settings
  const resources = resourcesOf(settings.waypointResources) ?? {}
  return {
    image: settings.waypointImage,
    command: wordsOf(settings.waypointCommand, ' '),
    pullPolicy: pullPolicyOf(settings.waypointPullPolicy),
    pullSecrets: wordsOf(settings.waypointPullSecrets, ','),
    resources: Object.keys(resources).length === 0 ? undefined : resources,
    priorityClass: settings.waypointPriorityClass,
    discoveryAddress: settings.waypointDiscovery,
    clusterDomain,
    trustDomain,
    clusterId,
    network,
    tracing,
  }
}

function wordsOf(text: string, separator: string): string[] {
  return text
    .split(separator)
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function pullPolicyOf(text: string): DeploySettings['pullPolicy'] {
  return POLICIES.find((one) => one === text)
}

/** @returns undefined when the text is something else */
function resourcesOf(text: string): ResourceRequirements | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined // not JSON: the caller says what is expected
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const isGood = Object.entries(value).every(([key, amounts]) => (key === 'requests' || key === 'limits') && isAmounts(amounts))
  return isGood ? value : undefined
}

function isAmounts(value: unknown): value is StringMap {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((amount) => typeof amount === 'string' && QUANTITY.test(amount))
}
