// Runs a host command to its end, with bounded output and time. Only iproute2, mount and nsenter are called through here.
import { spawn } from 'node:child_process'
import { runtimeFailure } from './errors.ts'

const MAX_OUTPUT_BYTES = 64 * 1024
const DEFAULT_TIMEOUT_MS = 20_000

/**
 * @param options.input given on standard input
 * @returns standard output as text
 * @throws MeshError COMMAND_FAILED with what the command wrote to standard error
 */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly timeoutMs?: number } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS })
    let output = ''
    let faults = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < MAX_OUTPUT_BYTES) output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (faults.length < MAX_OUTPUT_BYTES) faults += text
    })
    child.stdin.on('error', () => undefined) // the command ended without reading: its exit status says why
    child.on('error', (cause) => reject(runtimeFailure('COMMAND_FAILED', { command }, cause)))
    child.on('close', (status, signal) => {
      if (status === 0) resolve(output)
      else
        reject(
          runtimeFailure('COMMAND_FAILED', {
            command,
            args: args.join(' ').slice(0, 200),
            status: status ?? signal ?? '',
            said: faults.trim().slice(0, 1000),
          }),
        )
    })
    child.stdin.end(options.input ?? '')
  })
}

/**
 * Several `ip` commands in one process; stops at the first that fails.
 * @param netns name below /run/netns; undefined = this process's namespace
 */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  await runCommand('ip', [...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], { input: `${lines.join('\n')}\n` })
}
