package api

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeClientQuotas answers DescribeClientQuotas (key 48, versions 0 and 1;
// KIP-546). No quota can be set yet, so none is found; the key is served because
// Apache's tools ask for a user's quotas before they show anything of the user.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	filter     INVALID_REQUEST, UNSUPPORTED_VERSION: an unknown kind of entity
func (h *AdminHandlers) describeClientQuotas(c *Call, req *msg.DescribeClientQuotasRequest) *msg.DescribeClientQuotasResponse {
	resp := msg.NewDescribeClientQuotasResponse()
	refuse := func(code kafka.Code, text string) *msg.DescribeClientQuotasResponse {
		resp.ErrorCode, resp.ErrorMessage, resp.Entries = int16(code), &text, nil
		return &resp
	}
	if !c.AllowedCluster(auth.DescribeConfigs) {
		return refuse(kafka.ClusterAuthorizationFailed, unauthorizedText)
	}
	if code, text := checkQuotaFilter(req.Components); code != kafka.None {
		return refuse(code, text)
	}
	resp.ErrorMessage = new("")
	resp.Entries = []msg.DescribeClientQuotasResponseEntry{}
	return &resp
}

// How a component of a filter matches.
const (
	matchExact     = 0 // a name
	matchDefault   = 1 // what holds for all without a name of their own
	matchSpecified = 2 // any
)

func checkQuotaFilter(components []msg.DescribeClientQuotasRequestComponent) (kafka.Code, string) {
	named := map[string]bool{}
	for _, c := range components {
		switch {
		case c.EntityType == "":
			return kafka.InvalidRequest, "Invalid empty entity type."
		case named[c.EntityType]:
			return kafka.InvalidRequest, "Entity type " + c.EntityType + " cannot appear more than once in the filter."
		case c.EntityType != "ip" && c.EntityType != "user" && c.EntityType != "client-id":
			return kafka.UnsupportedVersion, "Unsupported entity type " + c.EntityType
		case c.MatchType < matchExact || c.MatchType > matchSpecified:
			return kafka.InvalidRequest, fmt.Sprintf("Unknown match type %d", c.MatchType)
		case c.MatchType == matchExact && c.Match == nil:
			return kafka.InvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null."
		case c.MatchType == matchDefault && c.Match != nil:
			return kafka.InvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."
		case c.MatchType == matchSpecified && c.Match != nil:
			return kafka.InvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."
		}
		named[c.EntityType] = true
	}
	if named["ip"] && (named["user"] || named["client-id"]) {
		return kafka.InvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."
	}
	return kafka.None, ""
}
