// The gRPC method of delta xDS as grpc-js wants it: bytes in, bytes out, so that messages are decoded under our own limits
// and a response that was serialised once can go to every client.
import type { MethodDefinition } from '@grpc/grpc-js'

const asIs = (bytes: Buffer): Buffer => bytes

/** `/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources`, both directions as raw bytes. */
export const DELTA_ADS: MethodDefinition<Buffer, Buffer> = {
  path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
  requestStream: true,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
}
