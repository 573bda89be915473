// weft logs: what a container wrote.
import type { Command } from 'commander'
import { meshLayout } from '../../runtime/layout.ts'
import { connectMesh } from '../connect.ts'
import { countFrom, parseMeshName } from '../options.ts'
import { findSandbox } from './exec.ts'

/** Registers the command. */
export function registerLogs(program: Command, defaultName: string): void {
  program
    .command('logs')
    .description('what a container of a pod wrote')
    .argument('<NS/POD>', 'the pod; the beginning of its name is enough (a Deployment’s name)')
    .option('-c, --container <NAME>', 'container; default the first')
    .option('--tail <LINES>', 'last lines only', countFrom(1, 1_000_000), 1000)
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--name <NAME>', 'name of the mesh', parseMeshName, defaultName)
    .action(async (target: string, flags: { container?: string; tail: number; follow?: boolean; name: string }) => {
      using client = connectMesh(flags.name)
      const pod = findSandbox(meshLayout(flags.name), target)
      const stopped = new AbortController()
      process.once('SIGINT', () => stopped.abort())
      const options = {
        tail: flags.tail,
        signal: stopped.signal,
        ...(flags.container === undefined ? {} : { container: flags.container }),
        ...(flags.follow === true ? { follow: true } : {}),
      }
      try {
        for await (const chunk of client.logs(pod.namespace, pod.name, options)) process.stdout.write(chunk)
      } catch (error) {
        if (!stopped.signal.aborted) throw error
      }
    })
}
