// Pod and Deployment. Unknown fields pass, as YAML written for a cluster has many that do not matter here; fields that we
// read are checked, and what would weaken the isolation (privileged, host namespaces, host paths) is refused.
import { z } from 'zod'
import { annotations, dnsLabel, dnsSubdomain, labelSelector, labels, portNumber, portOrName } from './meta.ts'

const seconds = z.int().min(0).max(86_400)
const path = z.string().min(1).max(4096).startsWith('/', 'must be an absolute path')
const envName = z.string().regex(/^[-._a-zA-Z][-._a-zA-Z0-9]*$/, 'is not a name of an environment variable')
const keySelector = z.looseObject({ name: dnsSubdomain, key: z.string().min(1), optional: z.boolean().optional() })

const env = z.looseObject({
  name: envName,
  value: z.string('must be text: put quotes around numbers and true/false').optional(),
  valueFrom: z
    .looseObject({
      configMapKeyRef: keySelector.optional(),
      secretKeyRef: keySelector.optional(),
      fieldRef: z.looseObject({ fieldPath: z.string() }).optional(),
    })
    .optional(),
})

const optionalReference = z.looseObject({ name: dnsSubdomain, optional: z.boolean().optional() })

const probe = z
  .looseObject({
    httpGet: z
      .looseObject({
        path: z.string().optional(),
        port: portOrName,
        host: z.string().optional(),
        scheme: z.enum(['HTTP', 'HTTPS']).optional(),
        httpHeaders: z.array(z.looseObject({ name: z.string().min(1), value: z.string() })).optional(),
      })
      .optional(),
    tcpSocket: z.looseObject({ port: portOrName }).optional(),
    exec: z.looseObject({ command: z.array(z.string()).min(1) }).optional(),
    initialDelaySeconds: seconds.optional(),
    periodSeconds: seconds.min(1).optional(),
    timeoutSeconds: seconds.min(1).optional(),
    successThreshold: z.int().min(1).optional(),
    failureThreshold: z.int().min(1).optional(),
  })
  .refine(
    (value) => value.httpGet !== undefined || value.tcpSocket !== undefined || value.exec !== undefined,
    'needs httpGet, tcpSocket or exec',
  )

const securityContext = z.looseObject({
  capabilities: z.looseObject({ add: z.array(z.string()).optional(), drop: z.array(z.string()).optional() }).optional(),
  runAsUser: z.int().min(0).max(0xfffffffe).optional(),
  runAsGroup: z.int().min(0).max(0xfffffffe).optional(),
  privileged: z.literal(false, 'privileged containers are not run').optional(),
  allowPrivilegeEscalation: z.boolean().optional(),
  readOnlyRootFilesystem: z.boolean().optional(),
})

const container = z.looseObject({
  name: dnsLabel,
  image: z.string().optional(),
  command: z.array(z.string('must be text: put quotes around numbers and true/false')).optional(),
  args: z.array(z.string('must be text: put quotes around numbers and true/false')).optional(),
  workingDir: path.optional(),
  ports: z
    .array(
      z.looseObject({
        name: z.string().max(15).optional(),
        containerPort: portNumber,
        protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
      }),
    )
    .optional(),
  env: z.array(env).optional(),
  envFrom: z
    .array(
      z.looseObject({ prefix: z.string().optional(), configMapRef: optionalReference.optional(), secretRef: optionalReference.optional() }),
    )
    .optional(),
  volumeMounts: z
    .array(z.looseObject({ name: dnsLabel, mountPath: path, subPath: z.string().optional(), readOnly: z.boolean().optional() }))
    .optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe.optional(),
  startupProbe: probe.optional(),
  securityContext: securityContext.optional(),
})

// A path below a volume: no way out of it.
const volumePath = z
  .string()
  .min(1)
  .max(1024)
  .refine((text) => !text.startsWith('/') && !text.split('/').includes('..'), 'must be a relative path without ..')
const items = z.array(z.looseObject({ key: z.string().min(1), path: volumePath, mode: z.int().min(0).max(0o777).optional() })).optional()
const mode = z.int().min(0).max(0o777).optional()

const volume = z.looseObject({
  name: dnsLabel,
  hostPath: z.undefined('host paths are not mounted').optional(),
  emptyDir: z.looseObject({}).optional(),
  configMap: z.looseObject({ name: dnsSubdomain, items, optional: z.boolean().optional(), defaultMode: mode }).optional(),
  secret: z.looseObject({ secretName: dnsSubdomain, items, optional: z.boolean().optional(), defaultMode: mode }).optional(),
  projected: z
    .looseObject({
      sources: z.array(
        z.looseObject({
          serviceAccountToken: z
            .looseObject({ path: volumePath, audience: z.string().optional(), expirationSeconds: z.int().min(600).optional() })
            .optional(),
          configMap: z.looseObject({ name: dnsSubdomain, items, optional: z.boolean().optional() }).optional(),
          secret: z.looseObject({ name: dnsSubdomain, items, optional: z.boolean().optional() }).optional(),
        }),
      ),
      defaultMode: mode,
    })
    .optional(),
})

/** spec of a Pod. */
export const podSpec = z.looseObject({
  nodeName: dnsSubdomain.optional(),
  nodeSelector: labels.optional(),
  hostNetwork: z.boolean().optional(),
  hostPID: z.literal(false, 'host namespaces are not shared').optional(),
  hostIPC: z.literal(false, 'host namespaces are not shared').optional(),
  serviceAccountName: dnsSubdomain.optional(),
  automountServiceAccountToken: z.boolean().optional(),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
  terminationGracePeriodSeconds: seconds.optional(),
  hostname: dnsLabel.optional(),
  subdomain: dnsLabel.optional(),
  securityContext: z
    .looseObject({ runAsUser: z.int().min(0).max(0xfffffffe).optional(), runAsGroup: z.int().min(0).max(0xfffffffe).optional() })
    .optional(),
  initContainers: z.array(container).optional(),
  containers: z.array(container).min(1).max(32),
  volumes: z.array(volume).optional(),
})

const percentOrCount = z.union([z.int().min(0), z.string().regex(/^\d{1,3}%$/, 'must be a number or a percentage')])

/** spec of a Deployment; the selector must match the template. */
export const deploymentSpec = z
  .looseObject({
    replicas: z.int().min(0).max(1000).optional(),
    selector: labelSelector,
    template: z.looseObject({
      metadata: z.looseObject({ labels: labels.optional(), annotations: annotations.optional() }).optional(),
      spec: podSpec,
    }),
    strategy: z
      .looseObject({
        type: z.enum(['RollingUpdate', 'Recreate']).optional(),
        rollingUpdate: z.looseObject({ maxSurge: percentOrCount.optional(), maxUnavailable: percentOrCount.optional() }).optional(),
      })
      .optional(),
    minReadySeconds: seconds.optional(),
  })
  .refine(
    ({ selector, template }) => {
      const has = template.metadata?.labels ?? {}
      return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => has[key] === value)
    },
    { message: 'must match the labels of the template', path: ['selector'] },
  )
