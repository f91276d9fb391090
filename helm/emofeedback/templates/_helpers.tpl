{{- define "emofeedback.name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name | trunc 40 -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "nameOverride makes %q of the objects' names and labels: Kubernetes takes lower-case letters, digits and dashes between them" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Prefix of every object's name; short, because KubeRay appends to it and a name has 63 characters. Services are among
     the objects, so it has to be a DNS label of RFC 1035. */}}
{{- define "emofeedback.fullname" -}}
{{- $from := "fullnameOverride" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $from = printf "the release %q" .Release.Name -}}
{{- $part := include "emofeedback.name" . -}}
{{- $name = contains $part .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $part) -}}
{{- end -}}
{{- $name = regexReplaceAll "-+$" (trunc 40 $name) "" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%s makes %q of the objects' names: Kubernetes takes lower-case letters, digits and dashes between them, a letter first; set fullnameOverride to such a name" $from $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What a pod is known by. Takes a dict of root and component. Nothing that a mere upgrade changes may stand here:
     another label is another pod template, and KubeRay would bring up another cluster. */}}
{{- define "emofeedback.selectorLabels" -}}
{{ include "emofeedback.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* What all pods of the release have. */}}
{{- define "emofeedback.releaseLabels" -}}
app.kubernetes.io/name: {{ include "emofeedback.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of an object that is not a pod. Takes a dict of root and component. */}}
{{- define "emofeedback.labels" -}}
{{ include "emofeedback.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Takes a dict of root and image. */}}
{{- define "emofeedback.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{- if eq .image.tag "latest" -}}
{{- fail (printf "image.tag of %s is latest, which says nothing about what runs: name a version, or set image.digest" .image.repository) -}}
{{- end -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The two halves of the Pod Security Standard "restricted". */}}
{{- define "emofeedback.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "emofeedback.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What every container of ours is told. The root file system is read-only: all that is written lies under /tmp, in
     the model cache, or in the runs' folder. */}}
{{- define "emofeedback.env" -}}
- name: HOME
  value: /tmp
- name: HF_HOME
  value: {{ .Values.modelCache.enabled | ternary "/models" "/tmp/huggingface" }}
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
{{- if not .Values.rayAuthentication.enabled }}
# Left to itself, Ray may ask for one all the same.
- name: RAY_AUTH_MODE
  value: disabled
{{- end }}
{{- /* `LIMITS.message_bytes` of the services, which Serve's proxy must take as well; a test compares them. */}}
- name: RAY_SERVE_GRPC_MAX_MESSAGE_SIZE
  value: "67108864"
{{- /* Serve's proxies go before the models, which are nice themselves; a test compares it too. */}}
- name: RAY_worker_niceness
  value: "0"
{{- /* From proxy to replica by gRPC; a test compares these too. */}}
- name: RAY_SERVE_PROXY_USE_GRPC
  value: "1"
- name: RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP
  value: "0"
- name: RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH
  value: "68157440"
{{- with include "emofeedback.apiTokenEnv" . }}
{{ . }}
{{- end }}
{{- if .Values.apiToken.guardsHealth }}
- name: EMOFEEDBACK_HEALTH
  value: guarded
{{- end }}
{{- with .Values.hubToken }}
{{- if .existingSecret }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .key | quote }}}
{{- end }}
{{- end }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .sampleRatio | toJson | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "emofeedback.apiTokenEnv" -}}
{{- with .Values.apiToken -}}
{{- if .existingSecret -}}
- name: EMOFEEDBACK_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .key | quote }}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emofeedback.envFrom" -}}
{{- with .Values.store.existingSecret -}}
- secretRef: {name: {{ . | quote }}}
{{- end -}}
{{- end -}}

{{- define "emofeedback.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.modelCache.enabled }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.modelCache.existingClaim | default (printf "%s-models" (include "emofeedback.fullname" .)) | quote }}
{{- end }}
{{- if .Values.profile.inline }}
- name: profile
  configMap:
    name: {{ include "emofeedback.fullname" . }}-profile
{{- end }}
{{- end -}}

{{- define "emofeedback.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.modelCache.enabled }}
- name: models
  mountPath: /models
{{- end }}
{{- if .Values.profile.inline }}
- name: profile
  mountPath: /etc/emofeedback
  readOnly: true
{{- end }}
{{- end -}}
