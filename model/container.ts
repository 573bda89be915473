// Containers of a pod as Kubernetes describes them: what runs, its probes, variables and volumes, and what has become of it.
// Made by controlplane/deploy, read by runtime/kubelet.

export interface ContainerPort {
  readonly name?: string
  readonly containerPort: number
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
  readonly hostPort?: number
}

export interface KeySelector {
  readonly name: string
  readonly key: string
  readonly optional?: boolean
}

export interface EnvVar {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: {
    readonly configMapKeyRef?: KeySelector
    readonly secretKeyRef?: KeySelector
    readonly fieldRef?: { readonly fieldPath: string }
  }
}

export interface EnvFromSource {
  readonly prefix?: string
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean }
  readonly secretRef?: { readonly name: string; readonly optional?: boolean }
}

export interface VolumeMount {
  readonly name: string
  readonly mountPath: string
  readonly subPath?: string
  readonly readOnly?: boolean
}

/** One of httpGet, tcpSocket, exec; times in seconds. */
export interface Probe {
  readonly httpGet?: {
    readonly path?: string
    readonly port: number | string
    readonly host?: string
    readonly scheme?: 'HTTP' | 'HTTPS'
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[]
  }
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string }
  readonly exec?: { readonly command: readonly string[] }
  readonly initialDelaySeconds?: number
  readonly periodSeconds?: number
  readonly timeoutSeconds?: number
  readonly successThreshold?: number
  readonly failureThreshold?: number
}

export interface SecurityContext {
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly privileged?: boolean
  readonly runAsNonRoot?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly readOnlyRootFilesystem?: boolean
  readonly seccompProfile?: { readonly type: 'RuntimeDefault' | 'Unconfined' | 'Localhost' }
}

/** Quantities such as `100m` and `128Mi`, by resource. */
export interface ResourceRequirements {
  readonly requests?: Readonly<Record<string, string>>
  readonly limits?: Readonly<Record<string, string>>
}

export interface Container {
  readonly name: string
  readonly image?: string
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never'
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly workingDir?: string
  readonly ports?: readonly ContainerPort[]
  readonly env?: readonly EnvVar[]
  readonly envFrom?: readonly EnvFromSource[]
  readonly volumeMounts?: readonly VolumeMount[]
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
  readonly startupProbe?: Probe
  readonly resources?: ResourceRequirements
  readonly securityContext?: SecurityContext
}

export interface KeyToPath {
  readonly key: string
  readonly path: string
  readonly mode?: number
}

export interface ConfigMapSource {
  readonly name: string
  readonly items?: readonly KeyToPath[]
  readonly optional?: boolean
  readonly defaultMode?: number
}

export interface SecretSource {
  readonly secretName: string
  readonly items?: readonly KeyToPath[]
  readonly optional?: boolean
  readonly defaultMode?: number
}

export interface ProjectedSource {
  readonly serviceAccountToken?: { readonly path: string; readonly audience?: string; readonly expirationSeconds?: number }
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyToPath[]; readonly optional?: boolean }
  readonly secret?: { readonly name: string; readonly items?: readonly KeyToPath[]; readonly optional?: boolean }
}

export interface Volume {
  readonly name: string
  readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string | number }
  readonly configMap?: ConfigMapSource
  readonly secret?: SecretSource
  readonly projected?: { readonly sources: readonly ProjectedSource[]; readonly defaultMode?: number }
}

export interface ContainerState {
  readonly waiting?: { readonly reason: string; readonly message?: string }
  readonly running?: { readonly startedAt: string }
  readonly terminated?: { readonly exitCode: number; readonly signal?: number; readonly reason: string; readonly finishedAt: string }
}

export interface ContainerStatus {
  readonly name: string
  readonly ready: boolean
  readonly started: boolean
  readonly restartCount: number
  readonly image: string
  readonly imageID: string
  readonly state: ContainerState
  readonly lastState?: ContainerState
}
