package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Readings are what a node knows of itself without counting calls: they are read when somebody
// collects.
type Readings struct {
	Keys       int   // with history or leases, copies for other nodes included
	Leases     int   // live ones, of the partitions that the node holds
	TableTaken int64 // bytes that the table has taken for keys,
	TableUsed  int64 // and those of them that hold some

	Members    int // of the view that it goes by
	Partitions []State
	CopyLag    time.Duration // age of the oldest change that a copy lacks
	Unsent     int           // former holdings whose counts nobody has taken over

	Views    uint64   // that it went by, one after the other
	Rounds   []Rounds // in which it stood
	Waits    uint64   // calls that waited for a permit
	Received uint64   // calls that other nodes passed on to it
	Forwards []Result // calls that it passed on
}

// A State is how many partitions are in one: the same partition may be in several.
type State struct {
	Name  string // one of a few words
	Count int
}

// Rounds is how often rounds for a purpose were won, and withdrawn.
type Rounds struct {
	Purpose        string // one of a few words
	Won, Withdrawn uint64
}

// A Result is how many calls came to it.
type Result struct {
	Name  string // one of a few words
	Count uint64
}

// SetReader has what read returns told beside the counts. It is called whenever somebody collects.
func (m *Metrics) SetReader(read func() Readings) { m.read.Store(&read) }

var (
	keysDesc       = desc("sluice_keys", "Keys with history or leases that this node has in memory, copies for other nodes included.")
	leasesDesc     = desc("sluice_leases_in_use", "Live leases of runs, of the partitions that this node holds: the sum over all nodes is that of the cluster.")
	tableTakenDesc = desc("sluice_table_bytes", "Memory that the table of keys has taken. It is used again, and not given back.")
	tableUsedDesc  = desc("sluice_table_used_bytes", "Of the memory that the table has taken, that in pages which hold keys.")
	membersDesc    = desc("sluice_members", "Members of the view that this node goes by, itself included.")
	partitionsDesc = desc("sluice_partitions", "Partitions by what this node is to them: owned (it should decide), held (it decides), waiting (held, and not permitted at the moment), copies (it has a complete copy), uncopied (held, and nobody has a copy).", "state")
	copyLagDesc    = desc("sluice_copy_lag_seconds", "Age of the oldest change that a copy of this node's partitions has not acknowledged.")
	unsentDesc     = desc("sluice_unsent_remainders", "Former holdings of this node with counts that no holder has taken over yet.")

	viewsDesc    = desc("sluice_view_changes_total", "Views of the members that this node went by, one after the other.")
	roundsDesc   = desc("sluice_rounds_total", "Rounds in which this node stood for a partition, by what for: promote (its copy becomes the holder), drop (it goes on without a copy), begin (nobody has a state), and by how they ended.", "purpose", "result")
	waitsDesc    = desc("sluice_permit_waits_total", "Calls that could not go on at once, as no node was known to be permitted to decide.")
	receivedDesc = desc("sluice_forwards_received_total", "Calls that other nodes passed on to this one; each check of a batch is one.")
	forwardsDesc = desc("sluice_forwards_total", "Calls that this node passed on to others, by what came of them: decided, undecided (certainly not, it is asked again), unknown (no answer came) or failed. Each check of a batch is one.", "result")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// readingDescs are what Readings are told as.
var readingDescs = []*prometheus.Desc{
	keysDesc, leasesDesc, tableTakenDesc, tableUsedDesc, membersDesc, partitionsDesc, copyLagDesc, unsentDesc,
	viewsDesc, roundsDesc, waitsDesc, receivedDesc, forwardsDesc,
}

func (r *Readings) collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(keysDesc, float64(r.Keys))
	gauge(leasesDesc, float64(r.Leases))
	gauge(tableTakenDesc, float64(r.TableTaken))
	gauge(tableUsedDesc, float64(r.TableUsed))
	gauge(membersDesc, float64(r.Members))
	for _, s := range r.Partitions {
		gauge(partitionsDesc, float64(s.Count), s.Name)
	}
	gauge(copyLagDesc, r.CopyLag.Seconds())
	gauge(unsentDesc, float64(r.Unsent))
	to <- counter(viewsDesc, r.Views)
	for _, of := range r.Rounds {
		to <- counter(roundsDesc, of.Won, of.Purpose, "won")
		to <- counter(roundsDesc, of.Withdrawn, of.Purpose, "withdrawn")
	}
	to <- counter(waitsDesc, r.Waits)
	to <- counter(receivedDesc, r.Received)
	for _, f := range r.Forwards {
		to <- counter(forwardsDesc, f.Count, f.Name)
	}
}
