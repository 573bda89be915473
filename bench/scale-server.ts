// The control plane of bench/scale.ts, in a process of its own: the real one (gRPC, TLS, CA, HTTP) over objects in memory.
// Tells its parent when it is ready, changes pods and reports its memory when asked.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startControlplane } from '../controlplane/app.ts'
import { readSettings } from '../controlplane/settings.ts'
import { systemClock } from '../kit/clock.ts'
import { createLog } from '../kit/log.ts'
import { ScaleSource } from './scale-source.ts'
import { objectsOf, podObject, type Scale } from './scale-world.ts'

/** What the parent says. */
export type ServerOrder =
  | { readonly do: 'change'; readonly pod: number; readonly isReady: boolean }
  | { readonly do: 'collect' }
  | { readonly do: 'stop' }

/** What it hears: ready once, then the moment (ns, CLOCK_MONOTONIC) of each change. */
export type ServerReport =
  | { readonly is: 'ready'; readonly port: number; readonly loadMs: number; readonly startMs: number; readonly objectsMiB: number }
  | { readonly is: 'changed'; readonly pod: number; readonly atNs: string }
  /** After a full garbage collection. */
  | { readonly is: 'collected'; readonly heapMiB: number; readonly heapTotalMiB: number; readonly buffersMiB: number }

const MIB = 1024 * 1024

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? '{}') as Scale)

async function main(scale: Scale): Promise<void> {
  const caDir = mkdtempSync(join(tmpdir(), 'weft-scale-'))
  const parsed = readSettings(
    ['--ca-dir', caDir, '--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0', '--serving-names', 'controlplane.test'],
    { WEFT_API_SOCKET: '/nowhere' },
  )
  if (!parsed.ok) throw new Error(parsed.errors.join('; '))
  const source = new ScaleSource()
  const begin = performance.now()
  for (const object of objectsOf(scale)) source.load(object)
  globalThis.gc?.()
  const objectsMiB = process.memoryUsage().heapUsed / MIB
  const loaded = performance.now()
  const log = createLog({ process: 'controlplane', levels: 'error' })
  const app = await startControlplane({ settings: parsed.value, source, log, clock: systemClock })
  report({ is: 'ready', port: app.grpcPort, loadMs: loaded - begin, startMs: performance.now() - loaded, objectsMiB })
  process.on('message', (order: ServerOrder) => {
    if (order.do === 'change') {
      const atNs = String(process.hrtime.bigint())
      source.apply(podObject(order.pod, scale, order.isReady))
      report({ is: 'changed', pod: order.pod, atNs })
      return
    }
    if (order.do === 'collect') {
      globalThis.gc?.()
      const { heapUsed, heapTotal, external } = process.memoryUsage()
      report({ is: 'collected', heapMiB: heapUsed / MIB, heapTotalMiB: heapTotal / MIB, buffersMiB: external / MIB })
      return
    }
    rmSync(caDir, { recursive: true })
    process.exit(0)
  })
  process.on('disconnect', () => process.exit(1))
}

function report(message: ServerReport): void {
  process.send?.(message)
}
