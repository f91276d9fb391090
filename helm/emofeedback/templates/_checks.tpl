{{/* Refuses what a cluster would, where it takes more than one value to see it; of one value alone the schema judges. */}}
{{- define "emofeedback.validation" -}}
{{- $taken := dict "6379" "Ray's state" "8265" "Ray's dashboard" "10001" "Ray's client" "8080" "the metrics" "52365" "Ray's agent" -}}
{{- range $name, $number := .Values.ports -}}
{{- $port := toJson $number -}}
{{- with get $taken $port -}}
{{- fail (printf "ports.%s is %s, which belongs to %s already: take another port" $name $port .) -}}
{{- end -}}
{{- $_ := set $taken $port (printf "ports.%s" $name) -}}
{{- end -}}
{{- if and .Values.apiToken.guardsHealth (not .Values.apiToken.existingSecret) -}}
{{- fail "apiToken.guardsHealth needs a token to ask for: name its secret in apiToken.existingSecret" -}}
{{- end -}}
{{- $groups := dict "head" .Values.head "test" .Values.test -}}
{{- if .Values.autoscaler.enabled -}}
{{- $_ := set $groups "autoscaler" .Values.autoscaler -}}
{{- end -}}
{{- range $pool, $settings := .Values.pools -}}
{{- if $settings.enabled -}}
{{- $_ := set $groups (printf "pools.%s" $pool) $settings -}}
{{- end -}}
{{- end -}}
{{- if .Values.trainer.enabled -}}
{{- if eq (toJson .Values.trainer.port) "9101" -}}
{{- fail "trainer.port is 9101, which belongs to the trainer's metrics already: take another port" -}}
{{- end -}}
{{- $_ := set $groups "trainer" .Values.trainer -}}
{{- if eq .Values.trainer.backend "kubernetes" -}}
{{- $_ := set $groups "trainer.job" .Values.trainer.job -}}
{{- $_ := set $groups "trainer.job.worker" .Values.trainer.job.worker -}}
{{- end -}}
{{- end -}}
{{- range $group, $settings := $groups -}}
{{- range $resource, $request := $settings.resources.requests -}}
{{- $limit := get $settings.resources.limits $resource -}}
{{- if and (hasKey $settings.resources.limits $resource) (gt (include "emofeedback.amount" $request | float64) (include "emofeedback.amount" $limit | float64)) -}}
{{- fail (printf "%s.resources.requests.%s is %s, more than its limit %s" $group $resource (toJson $request) (toJson $limit)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.http.pool -}}
{{- if and $.Values.http.enabled (not (get $.Values.pools .).enabled) -}}
{{- fail (printf "http.pool is %s, and pools.%s.enabled is false" . .) -}}
{{- end -}}
{{- end -}}
{{- range $host := .Values.http.hostnames -}}
{{- if has $host $.Values.route.hostnames -}}
{{- fail (printf "http.hostnames has %s, which route.hostnames has for gRPC: give the HTTP API names of its own" $host) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.applications -}}
{{- include "emofeedback.applicationValidation" (dict "root" $ "name" $name) -}}
{{- end -}}
{{- end -}}

{{/* Of one application: its pool is there, Serve takes its bounds, and what needs GPUs has them. Takes root and name. */}}
{{- define "emofeedback.applicationValidation" -}}
{{- $pools := .root.Values.pools -}}
{{- $pool := (get .root.Values.applications .name).pool -}}
{{- if and $pool (not (get $pools $pool).enabled) -}}
{{- fail (printf "applications.%s.pool is %s, and pools.%s.enabled is false" .name $pool $pool) -}}
{{- end -}}
{{- $served := dict -}}
{{- range $key := list "device" "gpus" "min_replicas" "max_replicas" -}}
{{- $_ := set $served $key (include "emofeedback.served" (dict "root" $.root "name" $.name "key" $key)) -}}
{{- end -}}
{{- if lt (int $served.max_replicas) (max 1 $served.min_replicas | int) -}}
{{- fail (printf "applications.%s.maxReplicas is %s, it must be at least minReplicas (%s) and at least 1" .name $served.max_replicas $served.min_replicas) -}}
{{- end -}}
{{- $profile := include "emofeedback.profile" .root -}}
{{- $gpus := float64 $served.gpus -}}
{{- if and (eq $served.device "cuda") (eq $gpus 0.0) -}}
{{- fail (printf "the profile %s runs the %s on a GPU, and a replica of it is given none: set applications.%s.gpus" $profile .name .name) -}}
{{- end -}}
{{- if gt $gpus 0.0 -}}
{{- $enough := list -}}
{{- range $key, $settings := $pools -}}
{{- if and $settings.enabled (or (not $pool) (eq $key $pool)) (ge (float64 $settings.gpu.count) $gpus) -}}
{{- $enough = append $enough $key -}}
{{- end -}}
{{- end -}}
{{- if not $enough -}}
{{- fail (printf "a replica of the %s takes %s GPU by the profile %s or applications.%s.gpus, and %s: see pools.%s.enabled and pools.%s.gpu" .name $served.gpus $profile .name (empty $pool | ternary "no pool that is enabled has so many" (printf "a pod of pools.%s has fewer" $pool)) ($pool | default .name) ($pool | default .name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity as a number: 1500m is 1.5, 2Ki is 2048. */}}
{{- define "emofeedback.amount" -}}
{{- $text := kindIs "string" . | ternary . (toJson .) -}}
{{- $unit := regexFind "[a-zA-Z]*$" $text -}}
{{- $units := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) -}}
{{- end -}}
