// Preloaded (--import) into a component under test: SIGUSR2 collects the garbage of all its threads. Only node: is imported.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BroadcastChannel, isMainThread } from 'node:worker_threads'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const channel = new BroadcastChannel('collect-garbage')
channel.unref()
channel.onmessage = collect
if (isMainThread)
  process.on('SIGUSR2', () => {
    channel.postMessage('all')
    collect()
  })
