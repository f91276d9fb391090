{{/* What `--profile` and the applications' arguments name. */}}
{{- define "emofeedback.profile" -}}
{{- .Values.profile.inline | empty | ternary .Values.profile.name "/etc/emofeedback/profile.toml" -}}
{{- end -}}

{{/* What the values of an application say otherwise than its profile, in the profile's words: lines of YAML. */}}
{{- define "emofeedback.scaling" -}}
{{- $lines := list -}}
{{- range $key, $value := omit . "pool" -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $lines = append $lines (printf "%s: %s" (snakecase $key) (toJson $value)) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}

{{/* How an application is served, one key of profiles.yaml: by the values, else the inline profile, else the built-in one
     under it. A profile that lies in the image can't be read here, nano stands for it. Takes root, name and key. */}}
{{- define "emofeedback.served" -}}
{{- $values := include "emofeedback.scaling" (get .root.Values.applications .name) | fromYaml -}}
{{- $inline := .root.Values.profile.inline -}}
{{- $table := eq .key "device" | ternary .name (printf "serving.%s" .name) -}}
{{- $own := include "emofeedback.tomlValue" (dict "text" $inline "table" $table "key" .key) -}}
{{- if hasKey $values .key -}}
{{- get $values .key | toJson -}}
{{- else if $own -}}
{{- $own -}}
{{- else -}}
{{- $builtIn := .root.Files.Get "profiles.yaml" | fromYaml -}}
{{- $base := regexFind `(?m)^\s*extends\s*=\s*["'][^"']*` $inline | regexFind `[^"']*$` | default "nano" -}}
{{- $profile := get $builtIn (ternary $base .root.Values.profile.name (not (empty $inline))) | default $builtIn.nano -}}
{{- get (get $profile .name) .key -}}
{{- end -}}
{{- end -}}

{{/* The value of a key that stands on a line of its own under its [table]; nothing where it does not. Takes a dict of
     text, table and key. */}}
{{- define "emofeedback.tomlValue" -}}
{{- $lines := regexFind (printf `(?ms)^[ \t]*\[%s\].*?(^[ \t]*\[|\z)` (replace "." `\.` .table)) .text -}}
{{- $line := regexFind (printf `(?m)^[ \t]*%s[ \t]*=[ \t]*["']?[-+.\w]+` .key) $lines -}}
{{- regexFind `[-+.\w]*$` $line | replace (eq .key "device" | ternary "" "_") "" -}}
{{- end -}}
