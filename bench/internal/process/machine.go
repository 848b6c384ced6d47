package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// MachineCPU returns the processor time that all programs have had since the machine
// started, to a hundredth of a second, with what a hypervisor took for others.
func MachineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

// parseStat reads the first line of /proc/stat: hundredths of a second by what they went to.
func parseStat(stat []byte) (busy time.Duration, err error) {
	line, _, _ := bytes.Cut(stat, []byte{'\n'})
	words := bytes.Fields(line)
	const idle, waiting, first, guests = 4, 5, 1, 9 // guests' time is in user time as well
	if len(words) < guests || string(words[0]) != "cpu" {
		return 0, errors.New("/proc/stat does not begin with processor times")
	}
	for i := first; i < guests; i++ {
		n, err := strconv.ParseInt(string(words[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != idle && i != waiting {
			busy += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return busy, nil
}
