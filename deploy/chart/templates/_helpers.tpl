{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a Service or a policy knows the pods by: never changes. */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: rate-limiter
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sluice.meta" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "sluice.labels" . | nindent 2 }}
{{- end -}}

{{- define "sluice.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The name that all nodes' certificates have, and by which they know each other. */}}
{{- define "sluice.nodeName" -}}
{{ include "sluice.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* What each port's TLS comes to, as YAML: secret, clientCA, allow. */}}
{{- define "sluice.tls" -}}
{{- $made := "" -}}
{{- if .Values.tls.certManager.enabled -}}{{- $made = printf "%s-tls" (include "sluice.fullname" .) -}}{{- end -}}
{{- range $port, $tls := pick .Values.tls "gateways" "peer" "admin" }}
{{- $secret := $tls.secret | default $made }}
{{- $ca := $tls.clientCA }}
{{- $allow := $tls.allow }}
{{- if eq $port "peer" }}
{{- $ca = $ca | default $secret }}
{{- if and (eq $secret $made) $made (not $allow) }}{{- $allow = list (include "sluice.nodeName" $) }}{{- end }}
{{- end }}
{{ $port }}:
  secret: {{ $secret | quote }}
  clientCA: {{ $ca | quote }}
  allow: {{ $allow | toJson }}
{{- end }}
{{- end -}}

{{/* Bytes of a memory quantity in Mi or Gi, which is all that the schema lets through. */}}
{{- define "sluice.bytes" -}}
{{- if hasSuffix "Gi" . -}}{{ mul (trimSuffix "Gi" . | int64) 1073741824 }}{{- else -}}{{ mul (trimSuffix "Mi" . | int64) 1048576 }}{{- end -}}
{{- end -}}

{{/* Thousandths of a processor. */}}
{{- define "sluice.millis" -}}
{{- $q := toString . -}}
{{- if hasSuffix "m" $q -}}{{ trimSuffix "m" $q }}{{- else -}}{{ mul (int64 $q) 1000 }}{{- end -}}
{{- end -}}

{{/* What no schema can say: values that do not go together. */}}
{{- define "sluice.check" -}}
{{- $tls := include "sluice.tls" . | fromYaml -}}
{{- $requested := include "sluice.bytes" .Values.resources.requests.memory | int64 -}}
{{- if lt (include "sluice.bytes" .Values.resources.limits.memory | int64) $requested -}}
{{- fail "resources.limits.memory: is below resources.requests.memory" -}}
{{- end -}}
{{- if lt (include "sluice.millis" .Values.resources.limits.cpu | int64) (include "sluice.millis" .Values.resources.requests.cpu | int64) -}}
{{- fail "resources.limits.cpu: is below resources.requests.cpu" -}}
{{- end -}}
{{- if gt (mul (int64 .Values.config.maxKeys) 100) $requested -}}
{{- fail (printf "config.maxKeys: %d keys of 100 bytes do not fit in resources.requests.memory" (int64 .Values.config.maxKeys)) -}}
{{- end -}}
{{- if gt (int .Values.config.minMembers) (int .Values.replicas) -}}
{{- fail "config.minMembers: is above replicas: no node would ever decide" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (eq (int .Values.config.minMembers) (int .Values.replicas)) -}}
{{- fail "config.minMembers: is replicas: each restart would stop all decisions" -}}
{{- end -}}
{{- range $port, $of := $tls -}}
{{- if and $of.clientCA (not $of.secret) -}}
{{- fail (printf "tls.%s.clientCA: needs tls.%s.secret" $port $port) -}}
{{- end -}}
{{- if and $of.allow (not $of.clientCA) -}}
{{- fail (printf "tls.%s.allow: needs tls.%s.clientCA" $port $port) -}}
{{- end -}}
{{- end -}}
{{- range $port := list "peer" "admin" -}}
{{- $of := get $tls $port -}}
{{- if and $of.clientCA (eq $of.clientCA $tls.gateways.clientCA) (not $of.allow) -}}
{{- fail (printf "tls.%s.allow: is required, as the same authority signs gateways, which could come in" $port) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuer.name) -}}
{{- fail "tls.certManager.issuer.name: is required" -}}
{{- end -}}
{{- if and (not .Values.policy.existingConfigMap) (not .Values.policy.document) -}}
{{- fail "policy.document: is required without policy.existingConfigMap" -}}
{{- end -}}
{{- end -}}
