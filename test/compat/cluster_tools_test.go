//go:build compat

package compat

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// talk is a console whose answers are looked at one by one.
type talk struct {
	*testing.T
	console *console
	trio    *trio
}

// say runs a line (see TestToolsComparison for what may stand there) that must
// end well and print all of the parts, which are patterns.
func (k talk) say(line string, parts ...string) string {
	k.Helper()
	return k.ends("exit 0", line, parts...)
}

// refused is say for what must fail.
func (k talk) refused(line string, parts ...string) string {
	k.Helper()
	return k.ends("exit 1", line, parts...)
}

// ends runs a line until it prints what it should: another node than the one that
// was asked for a change may be a moment behind. What changes something has one try.
func (k talk) ends(exit, line string, parts ...string) string {
	k.Helper()
	line = strings.NewReplacer("$ALL", k.trio.all(), "$CONTROLLER", k.trio.controllers[1]).Replace(line)
	cmd, err := parseTool(line)
	if err != nil {
		k.Fatal(err)
	}
	looks := regexp.MustCompile(`describe|--list|list-endpoints|get-offsets`).MatchString(line)
	for limit := time.Now().Add(20 * time.Second); ; <-time.After(100 * time.Millisecond) {
		text, err := k.console.do(cmd)
		if err != nil {
			k.Fatalf("%s: %v", line, err)
		}
		missing := slices.DeleteFunc(append(slices.Clone(parts), exit+"$"), func(p string) bool { return regexp.MustCompile("(?m)" + p).MatchString(text) })
		if len(missing) == 0 {
			return text
		}
		if !looks || time.Now().After(limit) {
			k.Errorf("%s: no %q in:\n%s", line, missing, text)
			return text
		}
	}
}

// file writes a file of the console's folder.
func (k talk) file(name, text string) {
	k.Helper()
	if err := os.WriteFile(filepath.Join(k.console.dir, name), []byte(text), 0o644); err != nil {
		k.Fatal(err)
	}
}

// Apache's tools for a cluster against three processes, in the order in which an
// operator meets them: what there is, moving replicas, losing a node and having
// it back, who votes. Topics, the quorum, features, the cluster, offsets and
// versions were compared by hand with what a real Kafka 4.4 of three nodes prints;
// reassignment, elections, log directories and new controllers were not.
func TestClusterTools(t *testing.T) {
	c := startTrio(t)
	classes := t.TempDir()
	run(t, time.Minute, "", "javac", "-cp", classpath(t, "tools"), "-d", classes, "java/Tools.java")
	k := talk{t, newConsole(t, "myelin", c.all(), classes), c}
	k.say(`until 'exit 0' topics --create --if-not-exists --topic first --replica-assignment 1:2:3`) // once all three have come
	for _, part := range []struct {
		name string
		play func(talk)
	}{
		{"look", lookAround}, {"reassign", reassign}, {"loss", loseNode}, {"unclean", electUncleanly}, {"quorum", changeQuorum},
	} {
		t.Run(part.name, func(t *testing.T) { part.play(talk{t, k.console, c}) })
	}
}

func lookAround(k talk) {
	k.say(`topics --create --topic a --replica-assignment 1:2:3,2:3:1,3:1:2 --config min.insync.replicas=2`, `^Created topic a\.$`)
	k.say(`topics --create --topic rf3 --partitions 3 --replication-factor 3`, `^Created topic rf3\.$`)
	k.refused(`topics --create --topic rf4 --partitions 1 --replication-factor 4`, `Unable to replicate the partition 4 time\(s\)`)
	k.say(`until 'Isr: 3,1,2' topics --describe --topic a`, `PartitionCount: 3 ReplicationFactor: 3 Configs: .*min.insync.replicas=2`,
		`Partition: 0 Leader: 1 Replicas: 1,2,3 Isr: 1,2,3 Elr: LastKnownElr:$`, `Partition: 1 Leader: 2 Replicas: 2,3,1 Isr: 2,3,1 `, `Partition: 2 Leader: 3 Replicas: 3,1,2 `)
	for _, which := range []string{"under-replicated", "unavailable", "under-min-isr", "at-min-isr"} {
		k.say(`topics --describe --`+which+`-partitions`, `\Aexit 0$`)
	}
	k.say(`cluster cluster-id --bootstrap-server $ALL`, `^Cluster ID: ID$`)
	k.say(`cluster list-endpoints --bootstrap-server $ALL --include-fenced-brokers`, `^1 127.0.0.1 \d+ null unfenced broker$`, `^2 .* unfenced broker$`, `^3 .* unfenced broker$`)
	k.say(`cluster list-endpoints --bootstrap-controller $CONTROLLER`, `^1 127.0.0.1 \d+ null .*controller$`, `^2 `, `^3 `)
	k.refused(`cluster unregister --bootstrap-server $ALL --id 9`, `BrokerIdNotRegisteredException`)
	k.refused(`cluster unregister --bootstrap-server $ALL --id 3`, `Broker 3 is in service`)
	k.say(`broker-api-versions`, `\(id: 1 rack: null isFenced: false\) -> \(`, `\(id: 2 `, `\(id: 3 `, `^ElectLeaders\(43\): 0 to 2 \[usable: 2\],$|^ ?ElectLeaders\(43\): 0 to 2`)
	k.say(`features --bootstrap-server $ALL describe`, `^Feature: metadata.version .* FinalizedVersionLevel: UNKNOWN 33 `, `^Feature: share.version .* FinalizedVersionLevel: 2 `)
	k.say(`features --bootstrap-controller $CONTROLLER describe`, `^Feature: transaction.version .* FinalizedVersionLevel: 2 `)
	k.say(`features version-mapping`, `^metadata.version=`)
	k.refused(`features upgrade --feature share.version=1`, `Can't downgrade the version of this feature without setting the upgrade type`)
	k.say(`features downgrade --feature share.version=0 --dry-run`, `^share.version can be downgraded to 0.`)
	k.say(`features downgrade --feature streams.version=0`, `^streams.version was downgraded to 0.`)
	k.say(`features describe`, `^Feature: streams.version .* FinalizedVersionLevel: 0 `)
	k.say(`features upgrade --feature streams.version=1`, `^streams.version was upgraded to 1.`)
}

func reassign(k talk) {
	k.say(`producer-perf --topic a --num-records 15000 --record-size 1000 --throughput -1`, `^15000 records sent`)
	sum := 0
	for _, line := range strings.Fields(k.say(`get-offsets --topic a`, `^a:0:\d+$`, `^a:1:\d+$`, `^a:2:\d+$`)) {
		var p, n int
		if _, err := fmt.Sscanf(line, "a:%d:%d", &p, &n); err == nil {
			sum += n
		}
	}
	if sum != 15000 {
		k.Fatalf("offsets sum to %d, want 15000", sum)
	}
	k.file("topics.json", `{"version":1,"topics":[{"topic":"a"}]}`)
	k.file("shrink.json", `{"version":1,"partitions":[{"topic":"a","partition":0,"replicas":[1,2]},{"topic":"a","partition":1,"replicas":[3,2]}]}`)
	k.file("away.json", `{"version":1,"partitions":[{"topic":"a","partition":0,"replicas":[3,2]}]}`)
	k.file("grow.json", `{"version":1,"partitions":[{"topic":"a","partition":1,"replicas":[1,2,3]}]}`)
	k.say(`reassign-partitions --topics-to-move-json-file $DIR/topics.json --broker-list 1,2,3 --generate`,
		`"topic":"a","partition":0,"replicas":\[1,2,3\],"log_dirs":\["/[^"]*", ?"/`, `"topic":"a","partition":2,"replicas":\[\d,\d,\d\],"log_dirs":\["any","any","any"\]`, `^Proposed partition reassignment configuration$`)
	k.refused(`reassign-partitions --topics-to-move-json-file $DIR/topics.json --broker-list 1,2 --generate`, `The target replication factor of 3 cannot be reached`)
	k.say(`reassign-partitions --reassignment-json-file $DIR/shrink.json --execute --throttle 1000000`,
		`^The inter-broker throttle limit was set to 1000000 B/s$`, `^Successfully started partition reassignments for a-0,a-1$`)
	k.say(`until 'a-0 is completed' reassign-partitions --reassignment-json-file $DIR/shrink.json --verify --preserve-throttles`, `^Reassignment of partition a-1 is completed.$`)
	k.say(`configs --describe --entity-type brokers --entity-name 3`, `leader.replication.throttled.rate=1000000 `, `follower.replication.throttled.rate=1000000 `)
	k.say(`configs --describe --entity-type topics --entity-name a`, `leader.replication.throttled.replicas=0:1,0:2,0:3,1:1,1:2,1:3 `)
	k.say(`reassign-partitions --reassignment-json-file $DIR/shrink.json --verify`, `^Clearing broker-level throttles on brokers 1,2,3$`, `^Clearing topic-level throttles on topic a$`)
	k.say(`configs --describe --entity-type brokers --entity-name 3`, `\ADynamic configs for broker 3 are:\nexit 0$`)

	// So slow that it is still under way when it is cancelled.
	k.say(`reassign-partitions --reassignment-json-file $DIR/away.json --execute --throttle 1000`, `^Successfully started partition reassignment for a-0$`)
	k.say(`reassign-partitions --list`, `^a-0: replicas: 3,2,1. adding: 3. removing: 1.$`)
	k.refused(`reassign-partitions --reassignment-json-file $DIR/grow.json --execute`, `^Cannot execute because there is an existing partition assignment.`)
	k.say(`reassign-partitions --reassignment-json-file $DIR/grow.json --execute --additional --throttle 2000`, `^Successfully started partition reassignment for a-1$`)
	k.say(`topics --describe --topic a`, `Partition: 0 Leader: 1 Replicas: 3,2,1 Isr: 1,2 Adding Replicas: 3 Removing Replicas: 1 `, `Partition: 1 .* Adding Replicas: 1 Removing Replicas: Elr:`)
	k.say(`reassign-partitions --reassignment-json-file $DIR/away.json --verify`, `^Reassignment of partition a-0 is still in progress.$`)
	k.say(`reassign-partitions --reassignment-json-file $DIR/away.json --cancel --preserve-throttles`, `^Successfully cancelled partition reassignment for: a-0$`)
	k.say(`topics --describe --topic a`, `Partition: 0 Leader: 1 Replicas: 2,1 Isr: 1,2 Elr:`)
	k.say(`reassign-partitions --list`, `^a-1: replicas: 1,2,3. adding: 1.$`)

	// Told again with a throttle that lets it pass.
	k.say(`reassign-partitions --reassignment-json-file $DIR/grow.json --execute --additional --throttle 100000000`, `^Successfully started partition reassignment for a-1$`)
	k.say(`until 'a-1 is completed' reassign-partitions --reassignment-json-file $DIR/grow.json --verify`, `^Reassignment of partition a-1 is completed.$`)
	k.say(`until 'No partition reassignments found' reassign-partitions --list`)
	k.say(`log-dirs --describe --topic-list a --broker-list 1`, `"broker":1,.*"partition":"a-1","size":\d{6,},"offsetLag":0,"isFuture":false`)
	k.say(`log-dirs --describe --topic-list a --broker-list 3`, `\{"brokers":\[\{"broker":3,"logDirs":\[\{"partitions":(\[\{"partition":"a-[12]",[^}]*\},\{"partition":"a-[12]",[^}]*\}\]),`)
	k.verifyReplicas("a")
}

// verifyReplicas has Apache's tool compare the checksums of the replicas of a
// topic. It never ends, so it runs in a process of its own.
func (k talk) verifyReplicas(topic string) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	defer cancel()
	argv := java(k, "tools", tools["replica-verification"], "--broker-list", k.trio.all(), "--topics-include", topic, "--report-interval-ms", "1000")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		k.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if strings.Contains(lines.Text(), "max lag is 0 for partition "+topic) {
			return
		}
	}
	k.Fatalf("the replicas of %s do not come to be the same:\n%s", topic, text.String())
}

func loseNode(k talk) {
	k.say(`topics --create --topic one --replica-assignment 3`)
	k.say(`topics --create --topic lead --replica-assignment 3:1,3:2`)
	k.file("lead.json", `{"partitions":[{"topic":"lead","partition":0},{"topic":"lead","partition":1}]}`)
	k.trio.nodes[2].kill()
	k.say(`until 'Topic: one Partition: 0 Leader: none' topics --describe --unavailable-partitions`, `Topic: one Partition: 0 Leader: none Replicas: 3 Isr: Elr: 3 LastKnownElr: 3$`)
	k.say(`topics --describe --under-replicated-partitions`, `Topic: lead Partition: 0 Leader: 1 Replicas: 3,1 Isr: 1 `, `Topic: lead Partition: 1 Leader: 2 Replicas: 3,2 Isr: 2 `)
	k.say(`topics --describe --under-min-isr-partitions`, `Topic: one Partition: 0 Leader: none`)
	k.say(`topics --describe --at-min-isr-partitions`, `Topic: lead Partition: 0 Leader: 1 `, `Topic: a Partition: 2 Leader: 1 .* Isr: 1,2 `)
	k.say(`cluster list-endpoints --bootstrap-server $ALL --include-fenced-brokers`, `^3 .* fenced broker$`)
	k.refused(`leader-election --election-type preferred --path-to-json-file $DIR/lead.json`, `leader election \(PREFERRED\) for partition: lead-0: .*PreferredLeaderNotAvailableException`)
	k.refused(`leader-election --election-type unclean --topic one --partition 0`, `EligibleLeadersNotAvailableException`)

	k.trio.nodes[2].start(k)
	k.say(`until 'Partition: 0 .* Isr: 1,3 [^$]*Partition: 1 .* Isr: 2,3 ' topics --describe --topic lead`)
	k.say(`leader-election --election-type preferred --path-to-json-file $DIR/lead.json`, `^Successfully completed leader election \(PREFERRED\) for partitions lead-[01], lead-[01]$`)
	k.say(`topics --describe --topic lead`, `Partition: 0 Leader: 3 `, `Partition: 1 Leader: 3 `)
	k.say(`leader-election --election-type preferred --path-to-json-file $DIR/lead.json`, `^Valid replica already elected for partitions lead-[01], lead-[01]$`)
	k.say(`until 'exit 0' leader-election --election-type preferred --all-topic-partitions`)
	k.say(`topics --describe --topic one`, `Leader: 3 Replicas: 3 Isr: 3 Elr: LastKnownElr:$`)
}

// Two nodes hold a partition; the one that has everything is gone.
func electUncleanly(k talk) {
	k.say(`topics --create --topic torn --replica-assignment 3:2`)
	k.trio.nodes[1].kill()
	k.say(`until 'Isr: 3 ' topics --describe --topic torn`, `Leader: 3 `)
	k.say(`producer-perf --topic torn --num-records 10 --record-size 10 --throughput -1`, `^10 records sent`)
	k.trio.nodes[2].kill()
	k.trio.nodes[1].start(k)
	k.say(`until 'Leader: none' topics --describe --topic torn`, `Leader: none Replicas: 3,2 Isr: Elr: 3 LastKnownElr: `)
	k.say(`until '(?m)^2 .* unfenced' cluster list-endpoints --bootstrap-server $ALL`)
	k.refused(`leader-election --election-type preferred --topic torn --partition 0`, `PreferredLeaderNotAvailableException`)
	k.say(`leader-election --election-type unclean --topic torn --partition 0`, `^Successfully completed leader election \(UNCLEAN\) for partitions torn-0$`)
	k.say(`topics --describe --topic torn`, `Leader: 2 Replicas: 3,2 Isr: 2 Elr: LastKnownElr:$`)
	k.say(`get-offsets --topic torn`, `^torn:0:0$`)
	k.trio.nodes[2].start(k)
	k.say(`until 'Isr: 2,3 ' topics --describe --topic torn`)
	k.say(`get-offsets --topic torn`, `^torn:0:0$`)
}

func changeQuorum(k talk) {
	for _, through := range []string{"--bootstrap-server $ALL", "--bootstrap-controller $CONTROLLER"} {
		k.say(`metadata-quorum `+through+` describe --status`, `^ClusterId: ID$`, `^LeaderId: [123]$`, `^CurrentVoters: \[\{"id": 1, "directoryId": "ID", "endpoints": \["CONTROLLER://127.0.0.1:\d+"\]\}, \{"id": 2, .*\{"id": 3, `, `^CurrentObservers: \[\]$`)
	}
	k.say(`metadata-quorum describe --replication`, `^NodeId DirectoryId LogEndOffset Lag LastFetchTimestamp LastCaughtUpTimestamp Status ?$`, `^[123] ID \d+ 0 TIME TIME Leader`, `^[123] ID \d+ \d+ TIME TIME Follower`)
	k.refused(`metadata-quorum remove-controller --controller-id 9 --controller-directory-id AAAAAAAAAAAAAAAAAAAAAQ`, `VOTER_NOT_FOUND`)

	at := fmt.Sprintf("127.0.0.1:%d", freePort(k))
	four := newNode(k, 4, "process.roles=controller", "controller.quorum.bootstrap.servers="+strings.Join(k.trio.controllers[:], ","), "listeners=CONTROLLER://"+at)
	four.bootstrap = at
	four.start(k)
	k.say(`until '(?m)^4 ID .* TIME TIME Observer' metadata-quorum describe --replication`, `^4 ID \d+ \d+ TIME TIME Observer`)
	var lines []string
	for i := 1; i < len(four.settings); i += 2 {
		lines = append(lines, four.settings[i])
	}
	k.file("four.properties", strings.Join(lines, "\n")+"\n")
	k.say(`metadata-quorum --command-config $DIR/four.properties --bootstrap-server $ALL add-controller`, `^Added controller 4 with directory id ID and endpoints: CONTROLLER://`+at)
	k.say(`metadata-quorum describe --status`, `^CurrentVoters: .*\{"id": 4, "directoryId": "ID", "endpoints": \["CONTROLLER://`+at+`"\]\}\]$`)
	meta, err := os.ReadFile(filepath.Join(four.dir, "data", "meta.properties"))
	if err != nil {
		k.Fatal(err)
	}
	id := regexp.MustCompile(`(?m)^directory.id=(.*)$`).FindStringSubmatch(string(meta))
	if id == nil {
		k.Fatalf("no directory.id in %s", meta)
	}
	k.say(`metadata-quorum remove-controller --controller-id 4 --controller-directory-id `+id[1], `^Removed KRaft controller 4 with directory id ID$`)
	k.say(`metadata-quorum describe --status`, `^CurrentVoters: \[\{"id": 1, .*\{"id": 2, .*\{"id": 3, [^}]*\}\]$`, `^CurrentObservers: \[\{"id": 4, `)
	four.stop(k)
}
