package controller

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The kinds of updates of a feature.
const (
	upgrade         int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// UpdateFeatures decides on the finalized levels of features (KIP-584). If one
// cannot be, none is: INVALID_UPDATE_VERSION with the reason. Level 0 turns a
// feature off. The metadata's own level never goes down. Of a feature that is named
// twice the last wish counts.
func UpdateFeatures(s *State, req *msg.UpdateFeaturesRequest, version int16) (Records, *msg.UpdateFeaturesResponse) {
	resp := msg.NewUpdateFeaturesResponse()
	resp.ErrorMessage = nil
	var recs Records
	last := map[string]int{}
	for i := range req.FeatureUpdates {
		last[req.FeatureUpdates[i].Feature] = i
	}
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[last[req.FeatureUpdates[i].Feature]]
		kind := u.UpgradeType
		if version == 0 {
			kind = upgrade
			if u.AllowDowngrade {
				kind = safeDowngrade
			}
		}
		if why := s.refuseLevel(u, kind); why != "" {
			resp.ErrorCode, resp.Results = int16(kafka.InvalidUpdateVersion), nil
			resp.ErrorMessage = new(fmt.Sprintf("The update failed for all features since the following feature had an error: "+
				"Invalid update version %d for feature %s. %s", u.MaxVersionLevel, u.Feature, why))
			return nil, &resp
		}
		if last[u.Feature] == i && s.Image.Feature(u.Feature) != u.MaxVersionLevel {
			recs = append(recs, featureLevel(u.Feature, u.MaxVersionLevel))
		}
		if version <= 1 {
			resp.Results = append(resp.Results, msg.UpdateFeaturesResponseResult{Feature: u.Feature, ErrorMessage: new("")})
		}
	}
	if req.ValidateOnly {
		recs = nil
	}
	return recs, &resp
}

// refuseLevel says why a feature cannot be brought to a level, "" if it can.
func (s *State) refuseLevel(u *msg.UpdateFeaturesRequestFeatureUpdate, kind int8) string {
	level, now := u.MaxVersionLevel, s.Image.Feature(u.Feature)
	switch {
	case kind < upgrade || kind > unsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case level < 0:
		return "A feature version cannot be less than 0."
	}
	for _, b := range s.Image.Brokers() {
		if why := unsupported(b.Features, u.Feature, level); why != "" {
			return fmt.Sprintf("Broker %d %s", b.ID, why)
		}
	}
	if why := unsupported(Supported(), u.Feature, level); why != "" {
		return "Local controller " + why
	}
	if !slices.ContainsFunc(Supported(), func(f cluster.FeatureRange) bool { return f.Name == u.Feature }) {
		return "Feature " + u.Feature + " not found."
	}
	switch {
	case level < now && kind == upgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case level > now && kind != upgrade:
		return "Can't downgrade to a newer version."
	case level < now && u.Feature == FeatureMetadata:
		return "Refusing to perform the requested downgrade because it might delete metadata information."
	}
	return ""
}

// unsupported says why a node cannot work at a level. A feature that it does not
// name it supports at 0 only.
func unsupported(has []cluster.FeatureRange, name string, level int16) string {
	i := slices.IndexFunc(has, func(f cluster.FeatureRange) bool { return f.Name == name })
	switch {
	case i < 0 && level == 0, i >= 0 && has[i].Min <= level && level <= has[i].Max:
		return ""
	case i < 0 || has[i].Max == 0:
		return "does not support this feature."
	case has[i].Min == has[i].Max:
		return fmt.Sprintf("only supports versions %d", has[i].Min)
	}
	return fmt.Sprintf("only supports versions %d-%d", has[i].Min, has[i].Max)
}
