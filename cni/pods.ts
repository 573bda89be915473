// What the agent knows of each pod that it was told about: one JSON file per pod, written whole or not at all, so that a
// restarted agent goes on where the last one stopped. The files are the agent's own; they are checked all the same.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, faults, messageOf, type Result, success } from '../kit/error.ts'
import type { Log } from '../kit/log.ts'
import type { Netns } from '../linux/netns.ts'
import { openNetns } from '../linux/netns.ts'
import { type IpAddress, isIpv6, parseIp } from '../model/address.ts'
import { cniFailure } from './errors.ts'
import { type Enrolment, STAGES } from './machine.ts'

/** A pod's place in the network, as the kubelet told it; never changes for a uid (a new namespace is a new record). */
export interface PodPlace {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  /** Absolute path of its network namespace. */
  readonly netns: string
  readonly netnsInode: bigint
  readonly cookie: bigint
  /** One or two, at most one per family. */
  readonly ips: readonly IpAddress[]
  /** Host side of its veth in the node's namespace; 0 = none. */
  readonly hostIfindex: number
  readonly bypassesInbound: boolean
  /** Sandbox that the runtime's plugin call was about; absent = told by someone who does not know it. */
  readonly containerId?: string
}

/** A file. */
export interface PodRecord {
  readonly place: PodPlace
  readonly enrolment: Enrolment
}

/**
 * Opens the namespace of a pod and makes sure that it is the same one.
 * @returns to be disposed of soon: an open fd keeps a deleted pod's namespace and devices alive
 * @throws MeshError NETNS_GONE
 */
export function openPodNetns(place: Pick<PodPlace, 'netns' | 'netnsInode'>): Netns {
  let netns: Netns
  try {
    netns = openNetns(place.netns)
  } catch (cause) {
    throw cniFailure('NETNS_GONE', { netns: place.netns }, cause)
  }
  if (netns.inode === place.netnsInode) return netns
  netns[Symbol.dispose]()
  throw cniFailure('NETNS_GONE', { netns: place.netns, reason: 'another namespace has its name' })
}

/** Whether a uid may be part of a file name. */
export function isUid(uid: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(uid)
}

/** The directory of files. */
export class PodFiles {
  readonly #directory: string
  readonly #log: Log

  /** Makes the directory (0700). */
  constructor(directory: string, log: Log) {
    this.#directory = directory
    this.#log = log
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  /** Every readable record; files that cannot be read are logged and set aside as `*.bad`. */
  load(): PodRecord[] {
    const records: PodRecord[] = []
    for (const file of readdirSync(this.#directory)) {
      const path = join(this.#directory, file)
      if (file.endsWith('.new')) rmSync(path)
      if (!file.endsWith('.json')) continue
      const record = parseRecord(readFileSync(path, 'utf8'))
      if (record.ok && `${record.value.place.uid}.json` === file) {
        records.push(record.value)
        continue
      }
      const reason = record.ok ? 'the file has another name than its pod' : record.errors.join(', ')
      this.#log.error('pod state set aside', { error: cniFailure('STATE_UNREADABLE', { file, reason }).message })
      renameSync(path, `${path}.bad`)
    }
    return records
  }

  save(record: PodRecord): void {
    const path = join(this.#directory, `${record.place.uid}.json`)
    writeFileSync(`${path}.new`, formatRecord(record), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  /** One that is gone is fine. */
  remove(uid: string): void {
    rmSync(join(this.#directory, `${uid}.json`), { force: true })
  }
}

/** JSON text of a record; 64-bit numbers are decimal strings. */
export function formatRecord({ place, enrolment }: PodRecord): string {
  const numbers = { netnsInode: String(place.netnsInode), cookie: String(place.cookie) }
  return `${JSON.stringify({ version: 1, ...place, ...numbers, ...enrolment }, undefined, 1)}\n`
}

/** Every fault of a file's text. */
export function parseRecord(text: string): Result<PodRecord> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return faults(`not JSON: ${messageOf(error)}`)
  }
  if (typeof value !== 'object' || value === null) return faults('not an object')
  const fields = value as Readonly<Record<string, unknown>>
  const errors: string[] = []
  const take = <T>(name: string, read: (raw: unknown) => T | undefined, fallback: T): T => {
    const read_ = read(fields[name])
    if (read_ === undefined) errors.push(`${name}: not usable`)
    return read_ ?? fallback
  }
  if (fields.version !== 1) errors.push('version: only 1 is known')
  const place: PodPlace = {
    uid: take('uid', (raw) => (typeof raw === 'string' && isUid(raw) ? raw : undefined), ''),
    namespace: take('namespace', nameOf, ''),
    name: take('name', nameOf, ''),
    serviceAccount: take('serviceAccount', nameOf, ''),
    netns: take('netns', (raw) => (typeof raw === 'string' && raw.startsWith('/') ? raw : undefined), ''),
    netnsInode: take('netnsInode', bigOf, 0n),
    cookie: take('cookie', bigOf, 0n),
    ips: take('ips', ipsOf, []),
    hostIfindex: take('hostIfindex', (raw) => (Number.isSafeInteger(raw) && Number(raw) >= 0 ? Number(raw) : undefined), 0),
    bypassesInbound: take('bypassesInbound', flagOf, false),
    ...(fields.containerId === undefined ? {} : { containerId: take('containerId', containerOf, '') }),
  }
  const enrolment: Enrolment = {
    stage: take('stage', (raw) => STAGES.find((stage) => stage === raw), 'out'),
    wanted: take('wanted', (raw) => (raw === 'in' || raw === 'out' ? raw : undefined), 'out'),
    isPublished: take('isPublished', flagOf, false),
  }
  return errors.length > 0 ? faults(...errors) : success({ place, enrolment })
}

/** @returns one or two addresses, at most one per family; undefined when the input is anything else */
export function ipsOf(raw: unknown): readonly IpAddress[] | undefined {
  if (!Array.isArray(raw) || raw.length < 1 || raw.length > 2) return undefined
  const ips = raw.flatMap((text: unknown) => (typeof text === 'string' ? (parseIp(text) ?? []) : []))
  const [first, second] = ips
  if (ips.length !== raw.length || first === undefined) return undefined
  return second !== undefined && isIpv6(first) === isIpv6(second) ? undefined : ips
}

/** A Kubernetes name: DNS subdomain. */
export function nameOf(raw: unknown): string | undefined {
  return typeof raw === 'string' && /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(raw) ? raw : undefined
}

/** Whether an effect failed because the pod is gone. */
export function isGone(error: unknown): boolean {
  return codeOf(error) === 'NETNS_GONE'
}

function bigOf(raw: unknown): bigint | undefined {
  return typeof raw === 'string' && /^[1-9]\d{0,19}$/.test(raw) ? BigInt(raw) : undefined
}

function containerOf(raw: unknown): string | undefined {
  return typeof raw === 'string' && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(raw) ? raw : undefined
}

function flagOf(raw: unknown): boolean | undefined {
  return typeof raw === 'boolean' ? raw : undefined
}
