// Process of a node's kubelet, started by the supervisor inside the node's network namespace and its kubelet cgroup.
import { systemClock } from '../../kit/clock.ts'
import { messageOf } from '../../kit/error.ts'
import { createLog } from '../../kit/log.ts'
import { meshLayout } from '../layout.ts'
import { Kubelet } from './kubelet.ts'
import { readSettings } from './settings.ts'

/** Runs until SIGTERM. */
async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2), process.env)
  if (!settings.ok) {
    process.stderr.write(`${settings.errors.join('\n')}\n`)
    process.exit(2)
  }
  const { mesh: name, node: index, images, hasCni, log: levels } = settings.value
  const log = createLog({ process: 'kubelet', levels })
  const mesh = meshLayout(name)
  const kubelet = new Kubelet({
    mesh,
    node: mesh.node(index),
    images: JSON.parse(images) as Record<string, string>,
    hasCni,
    clock: systemClock,
    log,
  })
  process.once('SIGTERM', () => void kubelet.stop().then(() => process.exit(0)))
  await kubelet.start()
  log.info('kubelet runs', { node: `node-${index}` })
}

main().catch((error: unknown) => {
  process.stderr.write(`kubelet: ${messageOf(error)}\n`)
  process.exit(1)
})
