package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const sec = time.Second

// ready is a pod that has been ready since the clock's beginning.
func ready(ordinal int, revision string) Pod {
	return Pod{Ordinal: ordinal, Revision: revision, Ready: true}
}

func change(p Pod, f func(*Pod)) Pod {
	f(&p)
	return p
}

func TestNext(t *testing.T) {
	set := Set{Replicas: 3, Revision: "b", MinReady: 5 * sec}
	terminating := func(p *Pod) { p.Terminating, p.Ready = true, false }
	for _, c := range []struct {
		name   string
		set    Set
		pods   []Pod
		create []int
		delete []int
	}{
		{name: "all at once", set: set, create: []int{0, 1, 2}},
		{name: "the missing one", set: set, pods: []Pod{ready(0, "b"), ready(2, "b")}, create: []int{1}},
		{name: "none while the one before ends", set: set, pods: []Pod{ready(0, "b"), ready(1, "b"), change(ready(2, "b"), terminating)}},
		{name: "all that are too many", set: Set{Replicas: 1, Revision: "b"}, pods: []Pod{ready(0, "b"), ready(1, "b"), ready(2, "b")}, delete: []int{1, 2}},
		{name: "those that end already are left alone", set: Set{Replicas: 1, Revision: "b"}, pods: []Pod{ready(0, "b"), change(ready(1, "b"), terminating)}},
		{name: "an update begins with the highest", set: set, pods: []Pod{ready(0, "a"), ready(1, "a"), ready(2, "a")}, delete: []int{2}},
		{name: "and waits until it has ended", set: set, pods: []Pod{ready(0, "a"), ready(1, "a"), change(ready(2, "a"), terminating)}},
		{name: "comes again", set: set, pods: []Pod{ready(0, "a"), ready(1, "a")}, create: []int{2}},
		{name: "is ready", set: set, pods: []Pod{ready(0, "a"), ready(1, "a"), {Ordinal: 2, Revision: "b"}}},
		{name: "and was so for a while", set: set, pods: []Pod{ready(0, "a"), ready(1, "a"), change(ready(2, "b"), func(p *Pod) { p.ReadySince = 6 * sec })}},
		{name: "then the next", set: set, pods: []Pod{ready(0, "a"), ready(1, "a"), change(ready(2, "b"), func(p *Pod) { p.ReadySince = 5 * sec })}, delete: []int{1}},
		{name: "one that is not ready is updated too", set: set, pods: []Pod{ready(0, "a"), {Ordinal: 1, Revision: "a"}, ready(2, "b")}, delete: []int{1}},
		{name: "at rest", set: set, pods: []Pod{ready(0, "b"), ready(1, "b"), ready(2, "b")}},
	} {
		const now = 10 * sec
		got := c.set.Next(now, c.pods)
		if !slices.Equal(got.Create, c.create) || !slices.Equal(got.Delete, c.delete) {
			t.Errorf("%s: %+v, want to create %v and delete %v", c.name, got, c.create, c.delete)
		}
		if atRest := c.name == "at rest"; c.set.Done(now, c.pods) != atRest {
			t.Errorf("%s: done is %v", c.name, !atRest)
		}
	}
}

// A rolling update in virtual time: pods take a second to end and two to be ready.
func TestRollingUpdate(t *testing.T) {
	set := Set{Replicas: 3, Revision: "b", MinReady: 3 * sec}
	pods := []Pod{ready(0, "a"), ready(1, "a"), ready(2, "a")}
	ends, comes := map[int]time.Duration{}, map[int]time.Duration{}
	var story []string
	now := 10 * sec
	for ; !set.Done(now, pods) && now < 60*sec; now += sec / 2 {
		pods = slices.DeleteFunc(pods, func(p Pod) bool { return p.Terminating && now >= ends[p.Ordinal] })
		for i := range pods {
			if p := &pods[i]; !p.Ready && !p.Terminating && now >= comes[p.Ordinal] {
				p.Ready, p.ReadySince = true, now
			}
		}
		step := set.Next(now, pods)
		for _, i := range step.Delete {
			at := slices.IndexFunc(pods, func(p Pod) bool { return p.Ordinal == i })
			pods[at].Terminating, pods[at].Ready = true, false
			ends[i] = now + sec
			story = append(story, fmt.Sprintf("-%d at %v", i, now))
		}
		for _, i := range step.Create {
			pods = append(pods, Pod{Ordinal: i, Revision: set.Revision})
			comes[i] = now + 2*sec
			story = append(story, fmt.Sprintf("+%d at %v", i, now))
		}
	}
	want := []string{"-2 at 10s", "+2 at 11s", "-1 at 16s", "+1 at 17s", "-0 at 22s", "+0 at 23s"}
	if !slices.Equal(story, want) || now != 28*sec {
		t.Errorf("%v, done at %v, want %v", story, now, want)
	}
}
