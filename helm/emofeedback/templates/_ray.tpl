{{/* Pod template of a Ray node. Takes a dict of root, component (head, or a pool's name) and settings (the values of
     that group). KubeRay puts `ray start` in front and copies the container's security context to its own init
     container. */}}
{{- define "emofeedback.rayPod" -}}
{{- $root := .root -}}
{{- $settings := .settings -}}
{{- $head := eq .component "head" -}}
metadata:
  labels:
    {{- include "emofeedback.selectorLabels" . | nindent 4 }}
  {{- with $root.Values.profile.inline }}
  annotations:
    emofeedback.io/profile-digest: {{ sha256sum . }}
  {{- end }}
spec:
  serviceAccountName: {{ include "emofeedback.fullname" $root }}-{{ $head | ternary "head" "worker" }}
  automountServiceAccountToken: {{ and $head $root.Values.autoscaler.enabled }}
  securityContext:
    {{- include "emofeedback.podSecurityContext" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "emofeedback.graceSeconds" $root }}
  {{- with $settings.runtimeClassName }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  {{- with $settings.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $settings.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.resourceClaims }}
  resourceClaims:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: ray-{{ $head | ternary "head" "worker" }}
      image: {{ include "emofeedback.image" (dict "root" $root "image" $root.Values.image) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        {{- include "emofeedback.containerSecurityContext" $root | nindent 8 }}
      ports:
        {{- if $head }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        {{- end }}
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: {{ $root.Values.ports.http | toJson }}}
        - {name: serve-grpc, containerPort: {{ $root.Values.ports.grpc | toJson }}}
      env:
        {{- include "emofeedback.env" $root | nindent 8 }}
      {{- with include "emofeedback.envFrom" $root }}
      envFrom:
        {{- . | nindent 8 }}
      {{- end }}
      resources:
        {{- include "emofeedback.rayResources" $settings | nindent 8 }}
      {{- if not $head }}
      lifecycle:
        preStop:
          # Ray moves the pod's replicas elsewhere, once their calls are done; only then may the pod end.
          exec:
            command: [python, -m, emofeedback.serving.draining, {{ include "emofeedback.leaveSeconds" $root | quote }}]
      {{- end }}
      startupProbe:
        {{- include "emofeedback.nodeHealth" $head | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        {{- include "emofeedback.nodeHealth" $head | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 12
      readinessProbe:
        {{- if $head }}
        {{- include "emofeedback.nodeHealth" $head | nindent 8 }}
        {{- else }}
        # Serve's proxy runs where a replica runs: without one the pod takes no calls.
        httpGet: {path: /-/healthz, port: serve}
        {{- end }}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      volumeMounts:
        {{- include "emofeedback.volumeMounts" $root | nindent 8 }}
        - name: shared-memory
          mountPath: /dev/shm
  volumes:
    {{- include "emofeedback.volumes" $root | nindent 4 }}
    {{- include "emofeedback.sharedMemory" $settings.objectStoreMiB | nindent 4 }}
{{- end -}}

{{/* Ray's object store would take 30 % of the memory, and lie on disk where /dev/shm is smaller. Both take its MiB. */}}
{{- define "emofeedback.objectStoreBytes" -}}
{{ mul . 1048576 | quote }}
{{- end -}}

{{- define "emofeedback.sharedMemory" -}}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ add . 64 }}Mi
{{- end -}}

{{/* A node lives while its raylet answers; the head while the cluster's state does. Ray needs no token for these. */}}
{{- define "emofeedback.nodeHealth" -}}
{{- if . -}}
httpGet: {path: /api/gcs_healthz, port: dashboard}
{{- else -}}
httpGet: {path: /api/local_raylet_healthz, port: 52365}
{{- end }}
{{- end -}}

{{/* Resources of a group, its GPUs and claims on devices among them. */}}
{{- define "emofeedback.rayResources" -}}
{{- $resources := deepCopy .resources -}}
{{- $gpu := .gpu | default dict -}}
{{- if and $gpu.count $gpu.resource -}}
{{- range $kind := list "requests" "limits" -}}
{{- $_ := set (index $resources $kind) $gpu.resource $gpu.count -}}
{{- end -}}
{{- end -}}
{{- with .resourceClaims -}}
{{- $claims := list -}}
{{- range . -}}
{{- $claims = append $claims (dict "name" .name) -}}
{{- end -}}
{{- $_ := set $resources "claims" $claims -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
