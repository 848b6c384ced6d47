// Package kube does to processes what Kubernetes does to the pods of a StatefulSet: it decides
// when pods come and go as the controller does ([Set.Next]), has them ready or not as the
// kubelet's probe does ([Readiness]), and tells their addresses as Services do, after a while
// ([Endpoints]). A [Cluster] puts that to work.
//
// As in Kubernetes, a pod has another address each time that it comes, is told to end by SIGTERM
// and ended by SIGKILL after its grace period, and leaves its Services when that begins.
package kube
