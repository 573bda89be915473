// weft logs: what a container wrote.
import type { Command } from 'commander'
import type { ObjectApi } from '../../objects/api.ts'
import { meshLayout } from '../../runtime/layout.ts'
import { findContainer } from '../cluster/pods.ts'
import { findTarget, openApi, type Target, type TargetFlags, withTarget } from '../connect.ts'
import { countFrom } from '../options.ts'
import { findSandbox } from './exec.ts'

interface LogFlags extends TargetFlags {
  readonly container?: string
  readonly tail: number
  readonly follow?: boolean
}

/** Registers the command. */
export function registerLogs(program: Command): void {
  withTarget(program.command('logs'))
    .description('what a container of a pod wrote')
    .argument('<NS/POD>', 'the pod; the beginning of its name is enough (a Deployment’s name)')
    .option('-c, --container <NAME>', 'container; default the first')
    .option('--tail <LINES>', 'last lines only', countFrom(1, 1_000_000), 1000)
    .option('-f, --follow', 'go on until Ctrl-C')
    .action(async (target: string, flags: LogFlags) => {
      const where = findTarget(flags, 'read')
      using api = openApi(where)
      const { namespace, pod, container } = await choose(where, api, target, flags.container)
      const stopped = new AbortController()
      process.once('SIGINT', () => stopped.abort())
      const options = {
        tail: flags.tail,
        signal: stopped.signal,
        ...(container === undefined ? {} : { container }),
        ...(flags.follow === true ? { follow: true } : {}),
      }
      try {
        for await (const chunk of api.logs(namespace, pod, options)) process.stdout.write(chunk)
      } catch (error) {
        if (!stopped.signal.aborted) throw error
      }
    })
}

async function choose(
  where: Target,
  api: ObjectApi,
  target: string,
  container: string | undefined,
): Promise<{ namespace: string; pod: string; container: string | undefined }> {
  if (where.kind === 'cluster') return findContainer(api, target, container)
  const { namespace, name } = findSandbox(meshLayout(where.name), target)
  return { namespace, pod: name, container }
}
