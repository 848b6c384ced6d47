package check_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// What the chart makes runs: as many processes as pods, on loopback, with the very arguments,
// files and probes, become one cluster, and end in the time that they are given.
func TestRenderedNodesAreACluster(t *testing.T) {
	for net, sample := range []string{"default", "strict", "own"} {
		t.Run(sample, func(t *testing.T) {
			all := objects(t, chart+"/ci/"+sample+"-values.yaml")
			set, container := nodes(t, all)
			w := &world{t: t, net: 40 + net, set: set, container: container, dir: t.TempDir(), pki: newPKI(t)}
			w.configs(all)
			for _, m := range container.VolumeMounts {
				w.mount(m)
			}
			for i := range int(*set.Spec.Replicas) {
				w.start(i)
			}
			for i := range w.running {
				w.probe(i, container.StartupProbe)
				w.probe(i, container.ReadinessProbe)
				w.probe(i, container.LivenessProbe)
			}
			w.agree()
			w.stop(w.running[:1]) // hands over
			w.stop(w.running[1:]) // have nobody to hand over to
		})
	}
}

// A world stands in for Kubernetes: it fills in what pods are told of themselves.
type world struct {
	t         *testing.T
	net       int
	set       *apps.StatefulSet
	container *core.Container
	dir       string
	pki       *pki
	policies  map[string]string // by name of the ConfigMap
	running   []*exec.Cmd
	logs      []*bytes.Buffer
}

func (w *world) ip(i int) string { return fmt.Sprintf("127.0.%d.%d", w.net, i+1) }

// configs takes up the ConfigMaps, and makes those that are somebody else's.
func (w *world) configs(all []object) {
	w.policies = make(map[string]string)
	for _, o := range all {
		if c, ok := o.(*core.ConfigMap); ok {
			w.policies[c.Name] = c.Data["policy.yaml"]
		}
	}
	if len(w.policies) == 0 {
		b, err := os.ReadFile("../../docs/policy.yaml")
		if err != nil {
			w.t.Fatal(err)
		}
		for _, v := range w.set.Spec.Template.Spec.Volumes {
			if v.ConfigMap != nil {
				w.policies[v.ConfigMap.Name] = string(b)
			}
		}
	}
}

// mount lays a volume's files where a pod would have them, below the folder of the test.
func (w *world) mount(m core.VolumeMount) {
	w.t.Helper()
	dir := filepath.Join(w.dir, m.MountPath)
	write := func(name, content string) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, v := range w.set.Spec.Template.Spec.Volumes {
		switch {
		case v.Name != m.Name:
		case v.ConfigMap != nil:
			write("policy.yaml", w.policies[v.ConfigMap.Name])
		case v.Secret != nil:
			for _, item := range v.Secret.Items {
				switch {
				case item.Key == "tls.crt":
					write(item.Path, w.pki.cert)
				case item.Key == "tls.key":
					write(item.Path, w.pki.key)
				case item.Key == "ca.crt":
					write(item.Path, w.pki.ca)
				case m.Name == "gossip-key":
					write(item.Path, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
				default:
					write(item.Path, "0123456789abcdef0123456789abcdef") // a secret, or a token
				}
			}
		}
	}
}

// start runs pod i.
func (w *world) start(i int) {
	w.t.Helper()
	name, ip := fmt.Sprintf("%s-%d", w.set.Name, i), w.ip(i)
	var seeds []string
	for j := range int(*w.set.Spec.Replicas) {
		seeds = append(seeds, w.ip(j)+":7946")
	}
	var args []string
	for _, arg := range w.container.Args {
		arg = strings.NewReplacer("$(POD_NAME)", name, "$(POD_IP)", ip, "=/etc/", "="+w.dir+"/etc/", "=:", "="+ip+":",
			w.set.Spec.ServiceName+"."+w.set.Namespace+".svc:7946", strings.Join(seeds, ",")).Replace(arg)
		args = append(args, arg)
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"GOMAXPROCS=" + w.container.Resources.Limits.Cpu().String(), fmt.Sprintf("GOMEMLIMIT=%d", w.container.Resources.Requests.Memory().Value())}
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.running, w.logs = append(w.running, cmd), append(w.logs, log)
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", name, log)
		}
	})
}

// probe asks as a kubelet would, until it is answered well or the probe would have given up.
func (w *world) probe(i int, p *core.Probe) {
	w.t.Helper()
	port := 0
	for _, at := range w.container.Ports {
		if at.Name == p.HTTPGet.Port.StrVal {
			port = int(at.ContainerPort)
		}
	}
	url := fmt.Sprintf("%s://%s:%d%s", strings.ToLower(string(p.HTTPGet.Scheme)), w.ip(i), port, p.HTTPGet.Path)
	// A kubelet does not look at the certificate.
	blind := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		response, err := blind.Do(request)
		if err == nil {
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(body))
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: %v", url, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// agree waits until a node says that all are one cluster, and that all is well.
func (w *world) agree() {
	w.t.Helper()
	args := []string{"status", "--admin", w.ip(0) + ":7090"}
	if w.container.ReadinessProbe.HTTPGet.Scheme == core.URISchemeHTTPS {
		ca, cert, key := w.pki.files(w.t, w.dir)
		args = append(args, "--admin-tls-ca", ca, "--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-tls-name", nodeName)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err == nil && strings.HasPrefix(string(out), fmt.Sprintf("healthy: %d member", *w.set.Spec.Replicas)) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%v: %s", err, out)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// stop ends pods together as a kubelet does.
func (w *world) stop(pods []*exec.Cmd) {
	w.t.Helper()
	grace := time.Duration(*w.set.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	if w.container.Lifecycle != nil {
		grace -= time.Duration(w.container.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	}
	for _, pod := range pods {
		defer time.AfterFunc(grace, func() { _ = pod.Process.Kill() }).Stop()
		if err := pod.Process.Signal(syscall.SIGTERM); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, pod := range pods {
		if err := pod.Wait(); err != nil {
			w.t.Errorf("a node did not end well: %v", err)
		}
	}
}
