package check_test

import (
	"net"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// restricted tells what in a pod is against the profile of that name.
func restricted(t *testing.T, pod *core.PodTemplateSpec) string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	return result.ForbiddenDetail()
}

// Pods are let into a namespace that enforces the restricted profile, and are tighter than that.
func TestPodsAreRestricted(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		set, container := nodes(t, all)
		pod := set.Spec.Template
		if why := restricted(t, &pod); why != "" {
			t.Error(why)
		}
		if s := container.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Error("the root file system can be written")
		}
		if a := pod.Spec.AutomountServiceAccountToken; a == nil || *a {
			t.Error("a token of the service account is mounted")
		}
		if u := pod.Spec.SecurityContext.RunAsUser; u == nil || *u == 0 {
			t.Error("no user by number")
		}
		if l := pod.Spec.EnableServiceLinks; l == nil || *l {
			t.Error("Services set variables that the binary takes for flags")
		}
		// What finds nothing may look for nothing.
		loose := pod.DeepCopy()
		loose.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		if restricted(t, loose) == "" {
			t.Error("the profile is not looked at")
		}
	})
}

// Whatever selects pods selects the nodes, and ports that are named are there.
func TestSelectorsAndPortsFit(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		set, container := nodes(t, all)
		of := labels.Set(set.Spec.Template.Labels)
		ports := make(map[string]core.ContainerPort)
		for _, p := range container.Ports {
			ports[p.Name] = p
		}
		selects := func(what string, s *meta.LabelSelector) {
			t.Helper()
			selector, err := meta.LabelSelectorAsSelector(s)
			if err != nil || selector.Empty() || !selector.Matches(of) {
				t.Errorf("%s does not select the nodes: %v", what, err)
			}
		}
		selects("the StatefulSet", set.Spec.Selector)
		for _, s := range set.Spec.Template.Spec.TopologySpreadConstraints {
			selects("the spread over "+s.TopologyKey, s.LabelSelector)
		}
		for _, o := range all {
			if o.GetNamespace() != set.Namespace && !isNamespace(o) {
				t.Errorf("%T %s is in namespace %q", o, o.GetName(), o.GetNamespace())
			}
			switch o := o.(type) {
			case *disruption.PodDisruptionBudget:
				selects("the disruption budget", o.Spec.Selector)
			case *networking.NetworkPolicy:
				selects("the network policy", &o.Spec.PodSelector)
			case *core.Service:
				selects("Service "+o.Name, &meta.LabelSelector{MatchLabels: o.Spec.Selector})
				for _, p := range o.Spec.Ports {
					if to, ok := ports[p.TargetPort.StrVal]; !ok || to.ContainerPort != p.Port || protocol(to.Protocol) != protocol(p.Protocol) {
						t.Errorf("Service %s: port %s leads to %+v", o.Name, p.Name, to)
					}
				}
			}
		}
	})
}

func isNamespace(o object) bool { _, is := o.(*core.Namespace); return is }

func protocol(p core.Protocol) core.Protocol {
	if p == "" {
		return core.ProtocolTCP
	}
	return p
}

// Nodes find each other before they are ready, by the Service that --join names; clients that
// route by themselves find those that are ready.
func TestServicesAreOfTheirKinds(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		set, container := nodes(t, all)
		services := make(map[string]*core.Service)
		for _, s := range only[*core.Service](t, all) {
			services[s.Name] = s
		}
		gossip := services[set.Spec.ServiceName]
		if gossip == nil || gossip.Spec.ClusterIP != "None" || !gossip.Spec.PublishNotReadyAddresses {
			t.Fatalf("the StatefulSet's Service is %+v", gossip)
		}
		host, port, err := net.SplitHostPort(flag(container, "join"))
		if err != nil || host != gossip.Name+"."+set.Namespace+".svc" || port != "7946" {
			t.Errorf("--join=%s", flag(container, "join"))
		}
		nodes := services[set.Name+"-nodes"]
		if nodes == nil || nodes.Spec.ClusterIP != "None" || nodes.Spec.PublishNotReadyAddresses {
			t.Errorf("the Service of ring-aware clients is %+v", nodes)
		}
		if any := services[set.Name]; any == nil || any.Spec.ClusterIP != "" || any.Spec.PublishNotReadyAddresses {
			t.Errorf("the Service of other clients is %+v", any)
		}
		for _, s := range services {
			for _, p := range s.Spec.Ports {
				if p.Name == "admin" && s.Name != set.Name+"-admin" {
					t.Errorf("Service %s has the operators' port", s.Name)
				}
			}
		}
	})
}

// A pod has the time to be taken out of Services, to drain and to end.
func TestPodsHaveTheTimeToDrain(t *testing.T) {
	source, err := os.ReadFile("../../cmd/sluice/serve.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`shutdownTimeout = (\d+) \* time\.Second`).FindSubmatch(source)
	if m == nil {
		t.Fatal("the binary's time to shut down is not found")
	}
	most, _ := strconv.ParseInt(string(m[1]), 10, 64)
	each(t, func(t *testing.T, all []object) {
		set, container := nodes(t, all)
		need := most
		if container.Lifecycle != nil {
			need += container.Lifecycle.PreStop.Sleep.Seconds
		}
		if grace := *set.Spec.Template.Spec.TerminationGracePeriodSeconds; grace < need+5 {
			t.Errorf("%d s of grace, and up to %d are needed", grace, need)
		}
	})
}

// Files that flags name are mounted, in folders that change when what is in them does.
func TestFilesAreMounted(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		set, container := nodes(t, all)
		there := []string{}
		for _, m := range container.VolumeMounts {
			i := slices.IndexFunc(set.Spec.Template.Spec.Volumes, func(v core.Volume) bool { return v.Name == m.Name })
			if i < 0 || m.SubPath != "" || !m.ReadOnly {
				t.Errorf("mount %+v", m)
				continue
			}
			switch v := set.Spec.Template.Spec.Volumes[i]; {
			case v.ConfigMap != nil:
				there = append(there, path.Join(m.MountPath, "policy.yaml"))
			case v.Secret != nil:
				for _, item := range v.Secret.Items {
					there = append(there, path.Join(m.MountPath, item.Path))
				}
			}
		}
		if len(container.VolumeMounts) != len(set.Spec.Template.Spec.Volumes) {
			t.Error("there are volumes without a mount")
		}
		named := 0
		for _, arg := range container.Args {
			if _, file, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(file, "/") {
				named++
				if !slices.Contains(there, file) {
					t.Errorf("%s: there is %v", arg, there)
				}
			}
		}
		if named != len(there) {
			t.Errorf("%d files, %d named: %v", len(there), named, container.Args)
		}
	})
}

// What a collector and the scheduler of Go go by comes from the resources.
func TestResourcesReachTheRuntime(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		_, container := nodes(t, all)
		for name, resource := range map[string]string{"GOMAXPROCS": "limits.cpu", "GOMEMLIMIT": "requests.memory"} {
			i := slices.IndexFunc(container.Env, func(e core.EnvVar) bool { return e.Name == name })
			if i < 0 || container.Env[i].ValueFrom.ResourceFieldRef.Resource != resource {
				t.Errorf("%s is not %s", name, resource)
			}
		}
		r := container.Resources
		if r.Limits.Memory().Cmp(*r.Requests.Memory()) < 0 || r.Limits.Cpu().MilliValue()%1000 != 0 {
			t.Errorf("resources %+v", r)
		}
	})
}

// The network policy lets nobody but nodes to the nodes' ports, and nobody unnamed to any.
func TestNetworkPolicyIsTight(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		for _, o := range all {
			p, ok := o.(*networking.NetworkPolicy)
			if !ok {
				continue
			}
			if !slices.Equal(p.Spec.PolicyTypes, []networking.PolicyType{"Ingress", "Egress"}) {
				t.Errorf("types %v", p.Spec.PolicyTypes)
			}
			for _, in := range p.Spec.Ingress {
				if len(in.From) == 0 || len(in.Ports) == 0 {
					t.Errorf("%+v lets everybody in", in)
				}
				for _, port := range in.Ports {
					own := len(in.From) == 1 && in.From[0].NamespaceSelector == nil && in.From[0].PodSelector != nil &&
						in.From[0].PodSelector.MatchLabels["app.kubernetes.io/name"] == "sluice"
					if n := port.Port.IntValue(); (n == 7071 || n == 7946) && !own {
						t.Errorf("others than nodes come to port %d", n)
					}
				}
			}
		}
	})
}

// flag returns what an argument of the container says.
func flag(c *core.Container, name string) string {
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}
