package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func topicTrimCmd(a *app) *cobra.Command {
	var (
		before string
		only   []int32
	)
	c := &cobra.Command{
		Use: "trim TOPIC --before OFFSET|TIME", Short: "Delete the oldest records of a topic", Args: cobra.ExactArgs(1),
		Long: "Delete the records before an offset, before a time (@2h ago, @2006-01-02, @1136214245000) or all (end).\n" +
			"Files go segment by segment, later; readers no longer see the records at once.",
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, topics []string) error {
			if before == "" {
				return usage("--before: say which records: an offset, @TIME or end")
			}
			at, err := parsePosition(before, time.Now())
			if err != nil {
				return err
			}
			adm, done, err := a.admin(c.Context())
			if err != nil {
				return err
			}
			defer done()
			l, err := limits(c.Context(), adm, topics, only)
			if err != nil {
				return err
			}
			targets, err := l.resolve(c.Context(), adm, at)
			if err != nil {
				return err
			}
			var plan []string
			offsets := kadm.Offsets{}
			for _, p := range l.sorted() {
				to := targets[p]
				if to < l.start[p] {
					to = l.start[p]
				}
				offsets.AddOffset(p.topic, p.partition, to, -1)
				plan = append(plan, fmt.Sprintf("%s/%d: offsets %d to %d (%d of %d)", p.topic, p.partition, l.start[p], to, to-l.start[p], l.end[p]-l.start[p]))
			}
			ok, err := a.confirm("These records go for good:", plan...)
			if err != nil || !ok {
				return err
			}
			got, err := adm.DeleteRecords(c.Context(), offsets)
			if err != nil {
				return err
			}
			var failed []error
			if err := l.offlineFault(); err != nil {
				failed = append(failed, err)
			}
			trimmed := 0
			for _, r := range got.Sorted() {
				if r.Err != nil {
					failed = append(failed, refusal(fmt.Sprintf("%s/%d", r.Topic, r.Partition), r.Err, ""))
					continue
				}
				trimmed++
				fmt.Fprintf(a.Out, "%s %d %d\n", r.Topic, r.Partition, r.LowWatermark)
			}
			return partial(trimmed, failed)
		},
	}
	c.Flags().StringVar(&before, "before", "", "OFFSET, @TIME or end")
	c.Flags().Int32SliceVar(&only, "partitions", nil, "only these partitions")
	return c
}
