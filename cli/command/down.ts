// weft down: ends a mesh of this machine and removes everything of it, also when its `up` has crashed.
import type { Command } from 'commander'
import { pause, systemClock } from '../../kit/clock.ts'
import { removeMesh } from '../../runtime/cleanup.ts'
import { runtimeFailure } from '../../runtime/errors.ts'
import { isOwnerAlive, readRecord } from '../../runtime/state.ts'
import { parseMeshName } from '../options.ts'
import { print } from '../output.ts'

const STOP_TIMEOUT_MS = 60_000

/** Registers the command. */
export function registerDown(program: Command, defaultName: string): void {
  program
    .command('down')
    .description('end a mesh and remove everything it made, also after a crash')
    .option('--name <NAME>', 'name of the mesh', parseMeshName, defaultName)
    .action(async ({ name }: { name: string }) => {
      if (process.getuid?.() !== 0) throw runtimeFailure('NOT_ROOT')
      const record = readRecord(name)
      if (record !== undefined && isOwnerAlive(record)) {
        process.kill(record.ownerPid, 'SIGTERM')
        const deadlineMs = systemClock.monotonicMs() + STOP_TIMEOUT_MS
        while (isOwnerAlive(record) && systemClock.monotonicMs() < deadlineMs) await pause(systemClock, 50)
        if (isOwnerAlive(record)) process.kill(record.ownerPid, 'SIGKILL')
      }
      await removeMesh(name)
      print(record === undefined ? `no mesh ${name} was running` : `mesh ${name} is removed`)
    })
}
