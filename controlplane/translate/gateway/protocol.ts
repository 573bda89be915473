// What a port of a service carries, as its appProtocol or the first part of its name says. Follows Istio's protocol selection.
import type { ServicePort } from '../../../model/object.ts'
import type { ListenerProtocol } from '../../../model/route.ts'

const PROTOCOLS: Readonly<Record<string, ListenerProtocol>> = {
  http: 'HTTP',
  http2: 'HTTP',
  grpc: 'HTTP',
  'grpc-web': 'HTTP',
  'kubernetes.io/h2c': 'HTTP',
  'kubernetes.io/ws': 'HTTP',
  https: 'TCP',
  tls: 'TCP',
  tcp: 'TCP',
  'kubernetes.io/wss': 'TCP',
  // The server speaks first: nothing would come that could be looked at.
  mysql: 'TCP',
  mongo: 'TCP',
  redis: 'TCP',
}

/** `DETECT` when nothing is said. */
export function protocolOf({ appProtocol, name }: Pick<ServicePort, 'appProtocol' | 'name'>): ListenerProtocol {
  const byName = name === 'grpc-web' || name?.startsWith('grpc-web-') ? 'grpc-web' : name?.split('-')[0]
  const text = (appProtocol ?? byName ?? '').toLowerCase()
  return (Object.hasOwn(PROTOCOLS, text) ? PROTOCOLS[text] : undefined) ?? 'DETECT'
}
