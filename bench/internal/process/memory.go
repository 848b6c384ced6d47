package process

import (
	"bytes"
	"fmt"
	"strconv"
)

// Memory is how much memory of a process is in RAM.
type Memory struct {
	Resident int64 // bytes, now
	Peak     int64 // bytes, the most there ever was
}

// parseStatus reads /proc/PID/status.
func parseStatus(status []byte) (Memory, error) {
	resident, err := statusField(status, "VmRSS")
	if err != nil {
		return Memory{}, err
	}
	peak, err := statusField(status, "VmHWM")
	return Memory{Resident: resident, Peak: peak}, err
}

// statusField returns the field of that name, which is in kB, in bytes.
func statusField(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		words := bytes.Fields(line)
		if len(words) != 3 || string(words[0]) != name+":" || string(words[2]) != "kB" {
			continue
		}
		kB, err := strconv.ParseInt(string(words[1]), 10, 64)
		return kB << 10, err
	}
	return 0, fmt.Errorf("there is no %s in its status", name)
}
