package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Self is what ApiVersions tells of the broker itself.
type Self struct {
	NodeID    int32
	Image     func() *cluster.Image
	Supported []cluster.FeatureRange // by name
}

func (t *Table) apiVersionsRow() Row {
	answer := cold(t.apiVersions)
	return row(kafka.KeyAPIVersions, func(c *Call, out *Reply) {
		if c.forgiven() {
			t.olderVersions(c, out)
			return
		}
		answer(c, out)
	})
}

// apiVersions answers ApiVersions (key 18, versions 0 to 5).
//
//	software  INVALID_REQUEST: a name or version that is none
//	identity  INVALID_REQUEST, REBOOTSTRAP_REQUIRED: not the broker that the
//	          client thinks it is talking to
//
// Versions: 3 software name and version (KIP-511), features, flexible; 4
// features whose minimum is 0 (older clients cannot read it); 5 cluster and
// node id (KIP-1242).
func (t *Table) apiVersions(c *Call, req *msg.APIVersionsRequest) *msg.APIVersionsResponse {
	resp := msg.NewAPIVersionsResponse()
	if c.Version >= 3 {
		if !isSoftware(req.ClientSoftwareName) || !isSoftware(req.ClientSoftwareVersion) {
			resp.ErrorCode = int16(kafka.InvalidRequest)
			return &resp
		}
		c.Conn.SoftwareName, c.Conn.SoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	if code := t.identity(req); code != kafka.None {
		resp.ErrorCode = int16(code)
		return &resp
	}
	c.Conn.login.greeted = true
	for _, r := range t.rows {
		if r != nil && !r.Hidden {
			resp.APIKeys = append(resp.APIKeys, msg.APIVersionsResponseAPIKey{
				APIKey: r.Key, MinVersion: r.Advertised.Min, MaxVersion: r.Advertised.Max})
		}
	}
	t.features(c.Version, &resp)
	return &resp
}

// identity compares the ids that the client sends with our own: it sends both
// or none.
func (t *Table) identity(req *msg.APIVersionsRequest) kafka.Code {
	self := &t.cfg.Self
	switch {
	case req.ClusterID == nil && req.NodeID == kafka.NoBroker:
		return kafka.None
	case req.ClusterID == nil || req.NodeID == kafka.NoBroker:
		return kafka.InvalidRequest
	case self.Image == nil || *req.ClusterID != self.Image().ClusterID() || req.NodeID != self.NodeID:
		return kafka.RebootstrapRequired
	}
	return kafka.None
}

func (t *Table) features(version int16, resp *msg.APIVersionsResponse) {
	if t.cfg.Self.Image == nil {
		return
	}
	for _, f := range t.cfg.Self.Supported {
		if version >= 4 || f.Min > 0 {
			resp.SupportedFeatures = append(resp.SupportedFeatures,
				msg.APIVersionsResponseSupportedFeature{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
		}
	}
	image := t.cfg.Self.Image()
	for _, f := range image.Features() {
		if f.Level > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures,
				msg.APIVersionsResponseFinalizedFeature{Name: f.Name, MaxVersionLevel: f.Level, MinVersionLevel: f.Level})
		}
	}
	resp.FinalizedFeaturesEpoch = image.Index()
}

// olderVersions answers a version that is still to come, in version 0, with the
// one entry a client needs to try again (KIP-511).
func (t *Table) olderVersions(c *Call, out *Reply) {
	c.row.stats.Fail()
	resp := msg.NewAPIVersionsResponse()
	resp.ErrorCode = int16(kafka.UnsupportedVersion)
	v := c.row.Advertised
	resp.APIKeys = []msg.APIVersionsResponseAPIKey{{APIKey: c.Key, MinVersion: v.Min, MaxVersion: v.Max}}
	out.Buf = resp.Append(out.Buf, 0)
}

// isSoftware says whether s is the name or version of a client's software:
// letters, digits, '-' and '.', the latter two not at the ends.
func isSoftware(s string) bool {
	alnum := func(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }
	if s == "" || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return !alnum(b) && b != '-' && b != '.' })
}
