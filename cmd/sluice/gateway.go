package main

import "github.com/spf13/cobra"

func newGateway() *cobra.Command { return &cobra.Command{Use: "gateway"} }
func newDemo() *cobra.Command    { return &cobra.Command{Use: "demo"} }
