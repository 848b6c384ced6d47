package check_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
)

// Values that cannot be meant are refused, by a text that names them.
func TestMistakesAreRefused(t *testing.T) {
	const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde" // a digit short
	for _, mistake := range []struct{ values, names string }{
		{"replica: 3", "replica"},
		{"replicas: 0", "/replicas"},
		{"replicas: 51", "/replicas"},
		{"replicas: '3'", "/replicas"},
		{"replicas: 2.5", "/replicas"},
		{"image: {repository: ''}", "/image/repository"},
		{"image: {tag: 'a b'}", "/image/tag"},
		{"image: {digest: 'sha256:" + digest + "'}", "/image/digest"},
		{"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		{"fullnameOverride: Sluice", "/fullnameOverride"},
		{"fullnameOverride: a-name-that-is-too-long-for-what-is-put-behind-it", "/fullnameOverride"},
		{"config: {loglevel: info}", "loglevel"},
		{"config: {logLevel: verbose}", "/config/logLevel"},
		{"config: {logFormat: xml}", "/config/logFormat"},
		{"config: {maxKeys: 0}", "/config/maxKeys"},
		{"config: {maxKeys: '1000'}", "/config/maxKeys"},
		{"config: {maxKeys: 20000000}", "config.maxKeys"},
		{"config: {whenFull: half}", "/config/whenFull"},
		{"config: {whenLost: maybe}", "/config/whenLost"},
		{"config: {minMembers: 0}", "/config/minMembers"},
		{"config: {minMembers: 4}", "config.minMembers"},
		{"config: {minMembers: 3}", "config.minMembers"},
		{"config: {bootstrapAfter: 30}", "/config/bootstrapAfter"},
		{"config: {bootstrapAfter: soon}", "/config/bootstrapAfter"},
		{"config: {http: 'yes'}", "/config/http"},
		{"config: {maxConnections: -1}", "/config/maxConnections"},
		{"config: {traceEndpoint: collector}", "/config/traceEndpoint"},
		{"extraArgs: [http-ietf-headers]", "/extraArgs/0"},
		{"extraArgs: [--grpc :1]", "/extraArgs/0"},
		{"extraEnv: [{name: A}]", "/extraEnv/0"},
		{"extraEnv: [{name: A, value: 1}]", "/extraEnv/0/value"},
		{"policy: {document: text}", "/policy/document"},
		{"policy: {document: null}", "policy.document"},
		{"secrets: {clusterKey: {name: ''}}", "/secrets/clusterKey/name"},
		{"secrets: {gossipKey: {name: Upper}}", "/secrets/gossipKey/name"},
		{"secrets: {gossipKey: {secretName: a}}", "secretName"},
		{"tls: {gateways: {clientCA: ca}}", "tls.gateways.secret"},
		{"tls: {gateways: {secret: a, allow: [b]}}", "tls.gateways.clientCA"},
		{"tls: {gateways: {secret: a, clientCA: ca}, peer: {secret: b, clientCA: ca}}", "tls.peer.allow"},
		{"tls: {gateways: {secret: a, clientCA: ca}, admin: {secret: b, clientCA: ca}}", "tls.admin.allow"},
		{"tls: {gateways: {secret: a, clientCA: ca, allow: ['b,c']}}", "/tls/gateways/allow/0"},
		{"tls: {certManager: {enabled: true}}", "tls.certManager.issuer.name"},
		{"tls: {certManager: {duration: 90d}}", "/tls/certManager/duration"},
		{"resources: {limits: {cpu: 1500m}}", "/resources/limits/cpu"},
		{"resources: {limits: {cpu: 1.5}}", "/resources/limits/cpu"},
		{"resources: {requests: {cpu: 3}}", "resources.limits.cpu"},
		{"resources: {requests: {cpu: 2500m}}", "resources.limits.cpu"},
		{"resources: {requests: {memory: 2Gi}}", "resources.limits.memory"},
		{"resources: {requests: {memory: 1G}}", "/resources/requests/memory"},
		{"resources: {limits: {memory: 512Mi}}", "resources.limits.memory"},
		{"resources: {limits: {ephemeral-storage: 1Gi}}", "ephemeral-storage"},
		{"drainDelaySeconds: -1", "/drainDelaySeconds"},
		{"minReadySeconds: 1h", "/minReadySeconds"},
		{"podDisruptionBudget: {maxUnavailable: 2}", "maxUnavailable"},
		{"spread: {hosts: Never}", "/spread/hosts"},
		{"networkPolicy: {gateways: [{}]}", "/networkPolicy/gateways/0"},
		{"networkPolicy: {operators: [{podselector: {}}]}", "podselector"},
		{"serviceMonitor: {interval: 15}", "/serviceMonitor/interval"},
		{"podLabels: {a: 1}", "/podLabels/a"},
		{"nodeSelector: [linux]", "/nodeSelector"},
	} {
		v, err := chartutil.ReadValues([]byte(mistake.values))
		if err != nil {
			t.Fatalf("%s: %v", mistake.values, err)
		}
		if _, err := render(v); err == nil {
			t.Errorf("%s: goes through", mistake.values)
		} else if !strings.Contains(err.Error(), mistake.names) {
			t.Errorf("%s: is not named by: %v", mistake.values, err)
		}
	}
}
