{{/* The Serve configuration: the same that `emofeedback deploy render` prints for a profile, which a test compares. */}}
{{- define "emofeedback.serveConfig" -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: {{ .Values.ports.http | toJson }}
grpc_options:
  port: {{ .Values.ports.grpc | toJson }}
  grpc_servicer_functions:
    - emofeedback.rpc.proxy.add_services
applications:
  {{- $profile := include "emofeedback.profile" . }}
  - name: generator
    route_prefix: /generator
    import_path: emofeedback.serving.apps:generator_app
    args:
      profile: {{ $profile | quote }}
      {{- with .Values.store.uri }}
      policies: {{ . | quote }}
      {{- end }}
    deployments:
      - name: GeneratorDeployment
        {{- include "emofeedback.deployment" (dict "root" . "name" "generator" "metric" "image_steps") | nindent 8 }}
  - name: judge
    route_prefix: /judge
    import_path: emofeedback.serving.apps:judge_app
    args:
      profile: {{ $profile | quote }}
    deployments:
      - name: JudgeDeployment
        {{- include "emofeedback.deployment" (dict "root" . "name" "judge" "metric" "tokens") | nindent 8 }}
  - name: optimizer
    route_prefix: /optimizer
    import_path: emofeedback.serving.apps:optimizer_app
    args:
      profile: {{ $profile | quote }}
      # The proxy on the replica's own node.
      address: 127.0.0.1:{{ .Values.ports.grpc | toJson }}
    deployments:
      - name: PromptOptimizerDeployment
        {{- include "emofeedback.deployment" (dict "root" . "name" "optimizer") | nindent 8 }}
{{- end -}}

{{/* Options of one application's deployment. Takes a dict of root, name and metric: the work it is scaled by; without
     one, calls are its work. */}}
{{- define "emofeedback.deployment" -}}
{{- $application := index .root.Values.applications .name -}}
{{- if ne (int $application.minReplicas) (int $application.maxReplicas) -}}
{{- if lt (int $application.maxReplicas) (max 1 $application.minReplicas | int) -}}
{{- fail (printf "applications.%s.maxReplicas is %v, it must be at least minReplicas (%v) and at least 1" .name (toJson $application.maxReplicas) (toJson $application.minReplicas)) -}}
{{- end -}}
autoscaling_config:
  min_replicas: {{ $application.minReplicas | toJson }}
  max_replicas: {{ $application.maxReplicas | toJson }}
  look_back_period_s: {{ $application.lookBackSeconds | toJson }}
  upscale_delay_s: {{ $application.upscaleDelaySeconds | toJson }}
  downscale_delay_s: {{ $application.downscaleDelaySeconds | toJson }}
  {{- if .metric }}
  policy:
    policy_function: emofeedback.serving.autoscaling:WorkPolicy
    policy_kwargs:
      metric: {{ .metric }}
      target: {{ $application.targetWork | toJson }}
  {{- else }}
  target_ongoing_requests: {{ $application.targetWork | toJson }}
  {{- end }}
{{- else -}}
num_replicas: {{ $application.minReplicas | toJson }}
{{- end }}
max_ongoing_requests: {{ $application.maxOngoingRequests | toJson }}
max_queued_requests: {{ $application.maxQueuedRequests | toJson }}
graceful_shutdown_timeout_s: {{ $application.drainSeconds | toJson }}
max_surge_percent: {{ $application.surgePercent | toJson }}
ray_actor_options:
  num_cpus: {{ $application.cpus | toJson }}
  num_gpus: {{ $application.gpus | toJson }}
  {{- with $application.pool }}
  {{- if not (index $.root.Values.pools .).enabled }}
  {{- fail (printf "applications.%s.pool is %s, and pools.%s.enabled is false" $.name . .) }}
  {{- end }}
  label_selector:
    emofeedback.io/pool: {{ . }}
  {{- end }}
{{- end -}}

{{- define "emofeedback.drainSeconds" -}}
{{- $longest := 0 -}}
{{- range .Values.applications -}}
{{- $longest = max $longest .drainSeconds -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{/* How long a node may take to be left: five minutes in which replacements load their models elsewhere while its
     replicas still take calls, then the longest drain. */}}
{{- define "emofeedback.leaveSeconds" -}}
{{- add (include "emofeedback.drainSeconds" .) 300 -}}
{{- end -}}

{{/* A pod that is told to end may take so long: until its node is left, and a minute for Ray. */}}
{{- define "emofeedback.graceSeconds" -}}
{{- add (include "emofeedback.leaveSeconds" .) 60 -}}
{{- end -}}
