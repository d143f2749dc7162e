package cli

import (
	"time"

	"github.com/spf13/cobra"
)

// completionBudget is how long the shell waits for names from a broker.
const completionBudget = 800 * time.Millisecond

func (a *app) completeTopics(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	a.timeout = completionBudget
	adm, done, err := a.admin(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	details, err := adm.ListTopics(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return details.Names(), cobra.ShellCompDirectiveNoFileComp
}

func (a groups) complete(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	a.timeout = completionBudget
	cl, err := a.connect(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	var kinds []string
	if a.kind != "" {
		kinds = []string{a.kind}
	}
	rows, err := listGroups(c.Context(), cl, nil, kinds)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(rows))
	for i, g := range rows {
		names[i] = g.Group
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
