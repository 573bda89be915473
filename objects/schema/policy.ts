// AuthorizationPolicy and PeerAuthentication. Strict: a misspelt field in a policy must not silently widen it.
// Shapes follow istio/api:security/v1beta1; meaning and translation are the control plane's.
import { z } from 'zod'
import { dnsSubdomain, labels } from './meta.ts'

const texts = z.array(z.string().min(1).max(2048)).max(1000).optional()
const selector = z.strictObject({ matchLabels: labels.optional() })
const target = z.strictObject({
  group: z.string().optional(),
  kind: z.string(),
  name: dnsSubdomain,
  namespace: z.string().optional(),
})

const source = z.strictObject({
  principals: texts,
  notPrincipals: texts,
  requestPrincipals: texts,
  notRequestPrincipals: texts,
  namespaces: texts,
  notNamespaces: texts,
  serviceAccounts: texts,
  notServiceAccounts: texts,
  ipBlocks: texts,
  notIpBlocks: texts,
  remoteIpBlocks: texts,
  notRemoteIpBlocks: texts,
})

const operation = z.strictObject({
  hosts: texts,
  notHosts: texts,
  ports: texts,
  notPorts: texts,
  methods: texts,
  notMethods: texts,
  paths: texts,
  notPaths: texts,
})

/** spec of an AuthorizationPolicy. */
export const authorizationPolicySpec = z
  .strictObject({
    selector: selector.optional(),
    targetRef: target.optional(),
    targetRefs: z.array(target).max(16).optional(),
    action: z.enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']).optional(),
    provider: z.strictObject({ name: z.string() }).optional(),
    rules: z
      .array(
        z.strictObject({
          from: z.array(z.strictObject({ source })).max(512).optional(),
          to: z.array(z.strictObject({ operation })).max(512).optional(),
          when: z
            .array(z.strictObject({ key: z.string().min(1), values: texts, notValues: texts }))
            .max(512)
            .optional(),
        }),
      )
      .max(512)
      .optional(),
  })
  .refine((spec) => [spec.selector, spec.targetRef, spec.targetRefs].filter((one) => one !== undefined).length <= 1, {
    message: 'only one of selector, targetRef and targetRefs',
  })

const mtls = z.strictObject({ mode: z.enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']).optional() })

/** spec of a PeerAuthentication. */
export const peerAuthenticationSpec = z
  .strictObject({
    selector: selector.optional(),
    mtls: mtls.optional(),
    portLevelMtls: z.record(z.string().regex(/^[1-9]\d{0,4}$/, 'must be a port number'), mtls).optional(),
  })
  .refine((spec) => spec.portLevelMtls === undefined || spec.selector !== undefined, {
    message: 'needs a selector',
    path: ['portLevelMtls'],
  })
