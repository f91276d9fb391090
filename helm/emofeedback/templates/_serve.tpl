{{/* The Serve configuration: the same that `emofeedback deploy render` prints for a profile, which a test compares.
     Replicas and what each takes stand in the profile; `scaling` is what the values say otherwise. */}}
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
  {{- range $name, $application := .Values.applications }}
  - name: {{ $name }}
    route_prefix: /{{ $name }}
    import_path: emofeedback.serving.apps:{{ $name }}_app
    args:
      profile: {{ include "emofeedback.profile" $ | quote }}
      {{- if and (eq $name "generator") $.Values.store.uri }}
      policies: {{ $.Values.store.uri | quote }}
      {{- end }}
      {{- if eq $name "optimizer" }}
      # The proxy on the replica's own node.
      address: 127.0.0.1:{{ $.Values.ports.grpc | toJson }}
      {{- end }}
      {{- with $application.pool }}
      pool: {{ . }}
      {{- end }}
      {{- with include "emofeedback.scaling" $application }}
      scaling:
        {{- . | nindent 8 }}
      {{- end }}
  {{- end }}
  {{- with .Values.http }}
  {{- if .enabled }}
  - name: http
    route_prefix: /
    import_path: emofeedback.serving.http_app:http_app
    args:
      address: 127.0.0.1:{{ $.Values.ports.grpc | toJson }}
      replicas: {{ .replicas | toJson }}
      calls_per_minute: {{ .callsPerMinute | toJson }}
      {{- with .origins }}
      origins: {{ toJson . }}
      {{- end }}
      {{- with .pool }}
      pool: {{ . }}
      {{- end }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "emofeedback.drainSeconds" -}}
{{- $longest := 0 -}}
{{- range $name, $_ := .Values.applications -}}
{{- $longest = max $longest (include "emofeedback.served" (dict "root" $ "name" $name "key" "drain_seconds") | float64 | ceil) -}}
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
