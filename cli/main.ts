// The weft command. One file per verb in command/; this one only puts them together and turns errors into exit codes:
// 0 done, 1 failed, 2 wrongly called; `exec` passes on the status of what it ran.
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { registerCheck } from './command/check.ts'
import { registerDemo } from './command/demo.ts'
import { registerDown } from './command/down.ts'
import { registerExec } from './command/exec.ts'
import { registerInstall } from './command/install.ts'
import { registerLogs } from './command/logs.ts'
import { registerObjects } from './command/objects.ts'
import { registerRelease } from './command/release.ts'
import { registerStatus } from './command/status.ts'
import { registerUp } from './command/up.ts'
import { registerWaypoint } from './command/waypoint.ts'
import { registerZtunnelConfig } from './command/ztunnel-config.ts'
import { DEFAULT_NAME } from './connect.ts'
import { printNote, sentenceOf } from './output.ts'

/** The whole command line. */
export function makeProgram(): Command {
  const program = new Command('weft')
  program.description('a service mesh without sidecars, on one machine or in a Kubernetes cluster').version('0.1.0').exitOverride()
  program.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'weft: ')) })
  registerUp(program, DEFAULT_NAME)
  registerDown(program, DEFAULT_NAME)
  registerDemo(program)
  registerExec(program)
  registerObjects(program)
  registerLogs(program)
  registerStatus(program)
  registerCheck(program)
  registerZtunnelConfig(program)
  registerWaypoint(program)
  registerInstall(program)
  registerRelease(program)
  for (const command of program.commands.flatMap((one) => [one, ...one.commands])) {
    command.exitOverride().configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'weft: ')) })
  }
  return program
}

/**
 * Carries out one command; what it prints goes to the process's streams.
 * @param words what stands behind `weft`
 * @returns exit code
 */
export async function runWeft(words: readonly string[]): Promise<number> {
  try {
    await makeProgram().parseAsync(words, { from: 'user' })
  } catch (error) {
    const isTold = error instanceof CommanderError && !(error instanceof InvalidArgumentError) // by commander
    if (isTold) return error.exitCode === 0 ? 0 : 2
    printNote(`weft: ${sentenceOf(error)}`)
    return error instanceof InvalidArgumentError ? 2 : 1
  }
  return Number(process.exitCode ?? 0)
}

if (import.meta.main) {
  process.stdout.on('error', () => process.exit()) // whoever read it has gone, as `head` does
  const code = await runWeft(process.argv.slice(2))
  process.stdout.write('', () => process.exit(code)) // a pipe takes 64 KiB at a time
}
