package deploy

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	helmlint "helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chart = root + "/deploy/helm/myelin"

// bundle is what the chart makes of one set of values.
type bundle struct {
	sets     map[string]*appsv1.StatefulSet
	configs  map[string]*corev1.ConfigMap
	services map[string]*corev1.Service
	budgets  map[string]*policyv1.PodDisruptionBudget
	networks map[string]*networkingv1.NetworkPolicy
	notes    string
}

// render is what `helm install NAME --namespace queues` would send. Each
// document has to be one of the kinds of bundle, without a field that the API
// of Kubernetes does not have.
func render(t *testing.T, name string, values map[string]any) bundle {
	t.Helper()
	b := bundle{map[string]*appsv1.StatefulSet{}, map[string]*corev1.ConfigMap{}, map[string]*corev1.Service{},
		map[string]*policyv1.PodDisruptionBudget{}, map[string]*networkingv1.NetworkPolicy{}, ""}
	files, err := rendered(name, values)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if filepath.Base(file) == "NOTES.txt" {
			b.notes = files[file]
			continue
		}
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(files[file], -1) {
			if strings.TrimSpace(doc) == "" {
				continue
			}
			if err := b.add([]byte(doc)); err != nil {
				t.Fatalf("%s: %v\n%s", file, err, doc)
			}
		}
	}
	return b
}

func rendered(name string, values map[string]any) (map[string]string, error) {
	c, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: name, Namespace: "queues", IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, all)
}

func (b bundle) add(doc []byte) error {
	var head struct {
		Kind     string
		Metadata struct{ Name string }
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return err
	}
	switch head.Kind {
	case "StatefulSet":
		return decode(doc, head.Metadata.Name, b.sets)
	case "ConfigMap":
		return decode(doc, head.Metadata.Name, b.configs)
	case "Service":
		return decode(doc, head.Metadata.Name, b.services)
	case "PodDisruptionBudget":
		return decode(doc, head.Metadata.Name, b.budgets)
	case "NetworkPolicy":
		return decode(doc, head.Metadata.Name, b.networks)
	}
	return fmt.Errorf("kind %q", head.Kind)
}

func decode[T any](doc []byte, name string, to map[string]*T) error {
	if to[name] != nil {
		return fmt.Errorf("%s twice", name)
	}
	to[name] = new(T)
	return yaml.UnmarshalStrict(doc, to[name])
}

func TestChartLint(t *testing.T) {
	for _, values := range []map[string]any{{}, {"bootstrap": true}, {"nodes": 5}, {"networkPolicy": false}} {
		for _, m := range helmlint.All(chart, values, "queues", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%v: %s", values, m)
			}
		}
	}
}

// TestChartRefuses tries values that have to be refused before anything runs.
func TestChartRefuses(t *testing.T) {
	for _, values := range []map[string]any{
		{"nodes": 2}, {"nodes": "three"}, {"replicas": 3}, {"clusterId": "short"}, {"storage": map[string]any{"size": "much"}},
		{"bootstrap": "yes"}, {"image": map[string]any{"repository": ""}},
	} {
		if _, err := rendered("myelin", values); err == nil {
			t.Errorf("%v was taken", values)
		}
	}
}

// TestChartObjects pins what the objects say of each other.
func TestChartObjects(t *testing.T) {
	b := render(t, "orders", nil)
	set := b.sets["orders"]
	if set == nil || len(b.sets) != 1 || len(b.services) != 2 || len(b.budgets) != 1 || len(b.networks) != 1 || len(b.configs) != 1 {
		t.Fatalf("objects: %+v", b)
	}
	labels := set.Spec.Template.Labels
	nodes, clients := b.services["orders-nodes"], b.services["orders"]
	for what, selector := range map[string]map[string]string{
		"stateful set": set.Spec.Selector.MatchLabels, "service of nodes": nodes.Spec.Selector, "service of clients": clients.Spec.Selector,
		"disruption budget": b.budgets["orders"].Spec.Selector.MatchLabels, "network policy": b.networks["orders"].Spec.PodSelector.MatchLabels,
	} {
		if len(selector) != 2 {
			t.Errorf("%s selects by %v", what, selector)
		}
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("%s selects %s=%s, pods have %q", what, k, v, labels[k])
			}
		}
	}
	pod := set.Spec.Template.Spec
	ports := map[string]int32{}
	for _, p := range pod.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	for _, s := range []*corev1.Service{nodes, clients} {
		for _, p := range s.Spec.Ports {
			if ports[p.TargetPort.StrVal] != p.Port {
				t.Errorf("service %s sends %d to %s, which is %d", s.Name, p.Port, p.TargetPort.StrVal, ports[p.TargetPort.StrVal])
			}
		}
	}
	for _, rule := range b.networks["orders"].Spec.Ingress {
		for _, p := range rule.Ports {
			if ports[p.Port.StrVal] == 0 {
				t.Errorf("network policy names port %s", p.Port.StrVal)
			}
			if p.Port.StrVal == "controller" && (len(rule.From) != 1 || rule.From[0].PodSelector == nil || len(rule.From[0].PodSelector.MatchLabels) != 2) {
				t.Errorf("who may reach controllers: %+v", rule.From)
			}
		}
	}
	if set.Spec.ServiceName != nodes.Name || !nodes.Spec.PublishNotReadyAddresses || nodes.Spec.ClusterIP != "None" {
		t.Errorf("pods find each other by %s: %+v", set.Spec.ServiceName, nodes.Spec)
	}
	if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement || *set.Spec.Replicas != 3 || b.budgets["orders"].Spec.MaxUnavailable.IntVal != 1 {
		t.Errorf("three at once, one away: %+v", set.Spec)
	}
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("a service named myelin would set broker properties")
	}
	if r := render(t, "orders", map[string]any{"networkPolicy": false}); len(r.networks) != 0 || !strings.Contains(r.notes, "whoever reaches") {
		t.Errorf("without a network policy: %d of them; the notes:\n%s", len(r.networks), r.notes)
	}
}

// TestChartNodes gives the binary what each pod would give it: its settings are
// right without a remark, each node is one of the first voters, and none of
// them is another.
func TestChartNodes(t *testing.T) {
	for _, c := range []struct {
		release string
		nodes   int
		values  map[string]any
	}{
		{"myelin", 3, map[string]any{"bootstrap": true}},
		{"a-name-that-is-longer-than-what-is-left-of-host-names", 5, map[string]any{"nodes": 5, "bootstrap": true}},
		{"one", 1, map[string]any{"nodes": 1, "bootstrap": true, "config": map[string]any{"log.retention.hours": 24, "default.replication.factor": 1}}},
	} {
		b := render(t, c.release, c.values)
		var voters []string
		advertised := map[string]bool{}
		for i := range c.nodes {
			p := b.pod(t, i)
			p.check(t)
			own := p.env["MYELIN_ADVERTISED_LISTENERS"]
			advertised[own] = true
			if first, _ := strings.CutPrefix(p.init[len(p.init)-1], "--initial-controllers="); i > 0 && first != strings.Join(voters, ",") {
				t.Errorf("%s: node %d has other first voters: %s", c.release, i, first)
			} else {
				voters = strings.Split(first, ",")
			}
			if !isVoter(voters[i], i, own) {
				t.Errorf("%s: node %d advertises %s and votes as %s", c.release, i, own, voters[i])
			}
		}
		directories := map[string]bool{}
		for _, v := range voters {
			directories[v[strings.LastIndexByte(v, ':'):]] = true
		}
		if len(advertised) != c.nodes || len(voters) != c.nodes || len(directories) != c.nodes {
			t.Errorf("%s: addresses %v, voters %v", c.release, advertised, voters)
		}
		if !strings.Contains(b.notes, "--set bootstrap=false") {
			t.Errorf("%s: the notes do not say how to go on:\n%s", c.release, b.notes)
		}
	}
	later := render(t, "myelin", nil)
	if init := later.pod(t, 1).init; init[len(init)-1] != "--no-initial-controllers" {
		t.Errorf("after the first installation a pod runs %v", init)
	}
	first := render(t, "myelin", map[string]any{"bootstrap": true})
	one, _ := yaml.Marshal(later.sets["myelin"])
	two, _ := yaml.Marshal(first.sets["myelin"])
	if string(one) != string(two) {
		t.Error("the notes say that nothing restarts when bootstrap=true is left out, and the stateful set changes")
	}
}

// isVoter tells whether a voter, id@host:port:directory, is the node that
// advertises own.
func isVoter(voter string, node int, own string) bool {
	_, controller, _ := strings.Cut(own, "CONTROLLER://")
	directory, ok := strings.CutPrefix(voter, fmt.Sprintf("%d@%s:", node, controller))
	id, err := base64.RawURLEncoding.DecodeString(directory)
	return ok && err == nil && len(id) == 16
}

// pod is how Kubernetes would start one node.
type pod struct {
	env  map[string]string
	init []string // arguments of the container that formats
	args []string
	file string // what is mounted at /etc/myelin/myelin.yaml
}

// pod expands what refers to the pod and to the config map, as the kubelet does.
func (b bundle) pod(t *testing.T, index int) pod {
	t.Helper()
	for _, set := range b.sets {
		spec, config := set.Spec.Template.Spec, b.configs[set.Name]
		name := fmt.Sprintf("%s-%d", set.Name, index)
		if host := strings.Split(name, "."); len(host[0]) > 63 {
			t.Errorf("host name %s is too long", name)
		}
		known := map[string]string{"metadata.name": name, "metadata.labels['apps.kubernetes.io/pod-index']": fmt.Sprint(index)}
		p := pod{env: map[string]string{}, file: config.Data["myelin.yaml"]}
		for _, e := range spec.Containers[0].Env {
			value := p.expand(t, e.Value)
			if from := e.ValueFrom; from != nil && from.FieldRef != nil {
				value = known[from.FieldRef.FieldPath]
			} else if from != nil {
				value = b.configs[from.ConfigMapKeyRef.Name].Data[from.ConfigMapKeyRef.Key]
			}
			if value == "" {
				t.Errorf("%s: %s is empty", name, e.Name)
			}
			p.env[e.Name] = value
		}
		for _, a := range spec.InitContainers[0].Args {
			p.init = append(p.init, p.expand(t, a))
		}
		for _, a := range spec.Containers[0].Args {
			p.args = append(p.args, p.expand(t, a))
		}
		return p
	}
	t.Fatal("no stateful set")
	return pod{}
}

// expand puts variables that stand before into text.
func (p pod) expand(t *testing.T, text string) string {
	return regexp.MustCompile(`\$\(([A-Z_]+)\)`).ReplaceAllStringFunc(text, func(ref string) string {
		value, ok := p.env[ref[2:len(ref)-1]]
		if !ok {
			t.Errorf("%s in %s is not set", ref, text)
		}
		return value
	})
}

// check lets the binary judge the pod's settings and read the arguments that
// start it.
func (p pod) check(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "myelin.yaml")
	if err := os.WriteFile(file, []byte(p.file), 0o666); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, k := range slices.Sorted(maps.Keys(p.env)) {
		env = append(env, k+"="+p.env[k])
	}
	if out := lint(t, env, file); out != "" {
		t.Errorf("%v: %s", env, out)
	}
	if p.args[0] != "serve" || p.args[1] != "--config=/etc/myelin/myelin.yaml" {
		t.Errorf("a pod runs %v", p.args)
	}
}
