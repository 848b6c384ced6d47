package policy

import (
	"math"
	"testing"
	"time"
)

func TestParsePer(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1m": time.Minute, "1s": time.Second, "500ms": 500 * time.Millisecond, "10m": 10 * time.Minute,
		"1m30s": 90 * time.Second, "1.5s": 1500 * time.Millisecond, "1d": 24 * time.Hour, "30d": 720 * time.Hour,
		"0d": 0, "106751d": 106751 * 24 * time.Hour,
	} {
		if got, ok := parsePer(s); !ok || got != want {
			t.Errorf("parsePer(%q) = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "d", "60", "1 m", "m", "1M", "-1d", "+1d", "1.5d", "01d", "1d12h", "106752d", "99999999999999999999d", "1e3s", "9999999999h"} {
		if got, ok := parsePer(s); ok {
			t.Errorf("parsePer(%q) = %v, want none", s, got)
		}
	}
}

func TestFormatPer(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 70 * time.Minute: "1h10m", time.Second: "1s",
		3601 * time.Second: "1h0m1s", 10 * time.Millisecond: "10ms", 24 * time.Hour: "1d", 36 * time.Hour: "36h", 0: "0s", -time.Minute: "-1m",
	} {
		if got := formatPer(d); got != want {
			t.Errorf("formatPer(%v) = %q, want %q", d, got, want)
		}
		if back, ok := parsePer(want); !ok || back != d {
			t.Errorf("parsePer(%q) = %v, %v; want %v", want, back, ok, d)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "1048576": 1 << 20, "7B": 7, "10MiB": 10 << 20, "50KiB": 50 << 10, "1GiB": 1 << 30, "2TiB": 2 << 40,
		"500kB": 500_000, "10MB": 10_000_000, "3GB": 3e9, "4TB": 4e12, "9223372036854775807": math.MaxInt64,
		"8388607TiB": 8388607 << 40,
	} {
		if got, ok := parseSize(s); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "0", "0MiB", "-1", "-1MiB", "+1", "MiB", "10 MiB", "1.5MiB", "10mib", "10KB", "10K", "1e3", "0x10", "010", "1_000", "8388608TiB", "9223372036854775808"} {
		if got, ok := parseSize(s); ok {
			t.Errorf("parseSize(%q) = %d, want none", s, got)
		}
	}
}
