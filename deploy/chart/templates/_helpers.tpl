{{- define "weft.image" -}}
{{ .Values.image.name | default (printf "localhost/weft:%s" .Chart.AppVersion) }}
{{- end }}

{{/* Labels of every object; the argument is (list . "component"). */}}
{{- define "weft.labels" -}}
{{- $root := index . 0 -}}
{{ include "weft.selector" . }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* What selects the pods of a component; never changes, or upgrades fail. */}}
{{- define "weft.selector" -}}
app: {{ index . 1 }}
app.kubernetes.io/name: {{ index . 1 }}
{{- end }}

{{/* Labels of pods: never part of the mesh themselves; no version, so that only what pods run replaces them. */}}
{{- define "weft.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "weft.selector" . }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/instance: {{ $root.Release.Name }}
istio.io/dataplane-mode: none
sidecar.istio.io/inject: "false"
{{- with (index $root.Values (index . 1)).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "weft.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Container fields that are the same everywhere; the argument is (list . "entry point"). */}}
{{- define "weft.program" -}}
{{- $root := index . 0 -}}
image: {{ include "weft.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: [node, --max-semi-space-size={{ ternary 4 2 (hasPrefix "ztunnel/" (index . 1)) }}, {{ index . 1 }}]
workingDir: /opt/weft
terminationMessagePolicy: FallbackToLogsOnError # weft install shows it
{{- end }}

{{/* Environment of whoever uses the API. */}}
{{- define "weft.apiEnv" -}}
{{- with .Values.kubernetesApi }}
{{- if .host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .port | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "weft.fieldEnv" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
- name: NODE_NAME
  valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
{{- end }}

{{/* glibc gives back what a storm of connections has freed. */}}
{{- define "weft.mallocEnv" -}}
- { name: MALLOC_ARENA_MAX, value: "2" }
- { name: MALLOC_TRIM_THRESHOLD_, value: "131072" }
- { name: MALLOC_MMAP_THRESHOLD_, value: "131072" }
{{- end }}

{{/* Node keeps 64 KiB per TLS connection to read into, of which requests touch a page or two: mapped, the rest costs nothing. */}}
{{- define "weft.mallocServerEnv" -}}
- { name: MALLOC_ARENA_MAX, value: "2" }
- { name: MALLOC_TRIM_THRESHOLD_, value: "65536" }
- { name: MALLOC_MMAP_THRESHOLD_, value: "65536" }
- { name: MALLOC_TOP_PAD_, value: "16384" }
{{- end }}

{{/* host:port of xDS and certificates. */}}
{{- define "weft.discovery" -}}
controlplane.{{ .Release.Namespace }}.svc:15012
{{- end }}
