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

func (a *app) completeGroups(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	a.timeout = completionBudget
	adm, done, err := a.admin(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	groups, err := adm.ListGroups(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return groups.Groups(), cobra.ShellCompDirectiveNoFileComp
}
