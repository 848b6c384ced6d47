{{/* The command line of a node. */}}
{{- define "sluice.args" -}}
{{- $tls := include "sluice.tls" . | fromYaml -}}
{{- $name := include "sluice.fullname" . -}}
- serve
- --name=$(POD_NAME)
- --advertise=$(POD_IP)
# These on all addresses, so that port-forward and exec reach them as well.
- --grpc=:7070
- --http={{ .Values.config.http | ternary ":7080" "" }}
- --admin=:7090
# In brackets it may be of either family.
- --peer=[$(POD_IP)]:7071
- --gossip=[$(POD_IP)]:7946
- --join={{ $name }}-gossip.{{ .Release.Namespace }}.svc:7946
- --label={{ .Values.config.label | default (printf "%s/%s" .Release.Namespace $name) }}
- --bootstrap-after={{ .Values.config.bootstrapAfter }}
- --min-members={{ .Values.config.minMembers }}
- --when-lost={{ .Values.config.whenLost }}
- --when-full={{ .Values.config.whenFull }}
- --max-keys={{ int64 .Values.config.maxKeys }}
- --max-connections={{ int64 .Values.config.maxConnections }}
- --policy=/etc/sluice/policy/policy.yaml
- --http-ietf-headers={{ .Values.config.httpIetfHeaders }}
- --envoy-ratelimit={{ .Values.config.envoyRateLimit }}
- --envoy-authz={{ .Values.config.envoyAuthz }}
- --log-level={{ .Values.config.logLevel }}
- --log-format={{ .Values.config.logFormat }}
{{- with .Values.config.traceEndpoint }}
- --trace-endpoint={{ . }}
{{- end }}
- --key-file=/etc/sluice/cluster-key/{{ .Values.secrets.clusterKey.key }}
{{- range $flag, $of := dict "gossip-key" .Values.secrets.gossipKey "grpc-token" .Values.secrets.grpcTokens "http-token" .Values.secrets.httpTokens "admin-token" .Values.secrets.adminTokens }}
{{- if $of.name }}
- --{{ $flag }}-file=/etc/sluice/{{ hasSuffix "token" $flag | ternary (printf "%ss" $flag) $flag }}/{{ $of.key }}
{{- end }}
{{- end }}
{{- range $port, $of := $tls }}
{{- $prefix := eq $port "gateways" | ternary "" (printf "%s-" $port) }}
{{- if $of.secret }}
- --{{ $prefix }}tls-cert=/etc/sluice/tls-{{ $port }}/tls.crt
- --{{ $prefix }}tls-key=/etc/sluice/tls-{{ $port }}/tls.key
{{- end }}
{{- if $of.clientCA }}
- --{{ $prefix }}tls-ca=/etc/sluice/ca-{{ $port }}/ca.crt
{{- end }}
{{- with $of.allow }}
{{- range eq $port "gateways" | ternary (list "grpc" "http") (list $port) }}
- --{{ . }}-allow={{ join "," $of.allow }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
