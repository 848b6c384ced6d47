package kube

import "time"

// A Set is what is wanted: a StatefulSet with podManagementPolicy Parallel and rolling updates
// of one pod at a time.
type Set struct {
	Replicas int
	Revision string        // of the pods to be
	MinReady time.Duration // a pod that was ready for so long is available
}

// A Pod is what the controller sees of a pod.
type Pod struct {
	Ordinal     int
	Revision    string
	Terminating bool
	Ready       bool
	ReadySince  time.Duration // on the clock of Next
}

// A Step is what the controller does at once.
type Step struct {
	Create []int // ordinals
	Delete []int
}

// Next returns what is to be done now for the set to come about, of which there are pods, one
// for an ordinal at most. It is what the StatefulSet controller does: all missing pods are
// created, all surplus ones deleted, and of those of another revision the one with the highest
// ordinal, if all above it are available.
func (s Set) Next(now time.Duration, pods []Pod) (step Step) {
	by := map[int]Pod{}
	for _, p := range pods {
		by[p.Ordinal] = p
	}
	for i := range s.Replicas {
		if _, there := by[i]; !there {
			step.Create = append(step.Create, i)
		}
	}
	for _, p := range pods {
		if p.Ordinal >= s.Replicas && !p.Terminating {
			step.Delete = append(step.Delete, p.Ordinal)
		}
	}
	for i := s.Replicas - 1; i >= 0; i-- {
		p, there := by[i]
		if there && p.Revision != s.Revision && !p.Terminating {
			step.Delete = append(step.Delete, i)
			break
		}
		if !there || !s.available(now, p) {
			break
		}
	}
	return step
}

// available reports whether a pod counts as one that serves.
func (s Set) available(now time.Duration, p Pod) bool {
	return p.Ready && !p.Terminating && now-p.ReadySince >= s.MinReady
}

// Done reports whether nothing is left to be done.
func (s Set) Done(now time.Duration, pods []Pod) bool {
	if len(pods) != s.Replicas {
		return false
	}
	for _, p := range pods {
		if p.Ordinal >= s.Replicas || p.Revision != s.Revision || !s.available(now, p) {
			return false
		}
	}
	return true
}
