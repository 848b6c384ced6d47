// Package check_test holds the chart and the plain manifests to Kubernetes' own types and rules,
// and to the binary. It is a module of its own: Helm and Kubernetes are for checking only.
package check_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	chart     = "../chart"
	namespace = "limits"
)

// samples are the values that the chart is tried with.
func samples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v: %v", files, err)
	}
	return files
}

// values reads a file of values.
func values(t *testing.T, file string) chartutil.Values {
	t.Helper()
	v, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// render returns what the chart makes of values, or why it refuses them.
func render(v chartutil.Values) (map[string]string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	release := chartutil.ReleaseOptions{Name: "sluice", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, release, caps)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// An object is one of Kubernetes' own types.
type object interface {
	meta.Object
}

// kinds are those that the chart may make.
var kinds = map[string]func() object{
	"v1/ConfigMap":                            func() object { return new(core.ConfigMap) },
	"v1/Namespace":                            func() object { return new(core.Namespace) },
	"v1/Service":                              func() object { return new(core.Service) },
	"apps/v1/StatefulSet":                     func() object { return new(apps.StatefulSet) },
	"policy/v1/PodDisruptionBudget":           func() object { return new(disruption.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":      func() object { return new(networking.NetworkPolicy) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() object { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule": func() object { return new(monitoring.PrometheusRule) },
	"cert-manager.io/v1/Certificate":          func() object { return new(certmanager.Certificate) },
}

// decode reads objects into their types; a field that a type does not have is an error.
func decode(documents string) (all []object, err error) {
	split := releaseutil.SplitManifests(documents)
	for _, name := range slices.Sorted(maps.Keys(split)) {
		var of meta.TypeMeta
		if err := yaml.Unmarshal([]byte(split[name]), &of); err != nil {
			return nil, err
		}
		if of.Kind == "" {
			continue // comments only
		}
		make, ok := kinds[of.APIVersion+"/"+of.Kind]
		if !ok {
			return nil, fmt.Errorf("%s %s: of no known kind", of.APIVersion, of.Kind)
		}
		o := make()
		if err := yaml.UnmarshalStrict([]byte(split[name]), o); err != nil {
			return nil, fmt.Errorf("%s: %w", of.Kind, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// objects are what the chart makes of a file of values.
func objects(t *testing.T, file string) (all []object) {
	t.Helper()
	rendered, err := render(values(t, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		of, err := decode(rendered[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all = append(all, of...)
	}
	return all
}

// manifests are the plain objects.
func manifests(t *testing.T) (all []object) {
	t.Helper()
	files, err := filepath.Glob("../manifests/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		of, err := decode(string(b))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		all = append(all, of...)
	}
	return all
}

// each runs a test for each file of values, and for the plain manifests.
func each(t *testing.T, test func(t *testing.T, all []object)) {
	t.Helper()
	for _, file := range samples(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) { test(t, objects(t, file)) })
	}
	t.Run("manifests", func(t *testing.T) { test(t, manifests(t)) })
}

// only returns the objects of a type, of which there must be some.
func only[T object](t *testing.T, all []object) (of []T) {
	t.Helper()
	for _, o := range all {
		if o, ok := o.(T); ok {
			of = append(of, o)
		}
	}
	if len(of) == 0 {
		t.Fatalf("no %T", *new(T))
	}
	return of
}

// nodes returns the one StatefulSet and its container.
func nodes(t *testing.T, all []object) (*apps.StatefulSet, *core.Container) {
	t.Helper()
	sets := only[*apps.StatefulSet](t, all)
	if len(sets) != 1 || len(sets[0].Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%d StatefulSets", len(sets))
	}
	return sets[0], &sets[0].Spec.Template.Spec.Containers[0]
}
