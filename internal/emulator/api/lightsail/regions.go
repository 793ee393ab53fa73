package lightsail

import "github.com/eic-agent/eic-agent/internal/emulator/api"

type regionShape struct {
	Continent   string      `json:"continentCode"`
	Description string      `json:"description"`
	Display     string      `json:"displayName"`
	Name        string      `json:"name"`
	Zones       []zoneShape `json:"availabilityZones"`
	Databases   []zoneShape `json:"relationalDatabaseAvailabilityZones"`
}

type zoneShape struct {
	Name  string `json:"zoneName"`
	State string `json:"state"`
}

// getRegions returns the regions that Lightsail is in. The model's list of names
// also has us-west-1, where it is not.
func (b Backend) getRegions(c *api.Call) (any, error) {
	zones, err := c.Input.Flag("includeAvailabilityZones")
	if err != nil {
		return nil, err
	}
	databases, err := c.Input.Flag("includeRelationalDatabaseAvailabilityZones")
	if err != nil {
		return nil, err
	}
	output := struct {
		Regions []regionShape `json:"regions"`
	}{}
	for _, r := range []regionShape{
		{Continent: "NA", Display: "Virginia", Name: "us-east-1"},
		{Continent: "NA", Display: "Ohio", Name: "us-east-2"},
		{Continent: "NA", Display: "Oregon", Name: "us-west-2"},
		{Continent: "EU", Display: "Ireland", Name: "eu-west-1"},
		{Continent: "EU", Display: "London", Name: "eu-west-2"},
		{Continent: "EU", Display: "Paris", Name: "eu-west-3"},
		{Continent: "EU", Display: "Frankfurt", Name: "eu-central-1"},
		{Continent: "EU", Display: "Stockholm", Name: "eu-north-1"},
		{Continent: "NA", Display: "Montreal", Name: "ca-central-1"},
		{Continent: "AS", Display: "Mumbai", Name: "ap-south-1"},
		{Continent: "AS", Display: "Singapore", Name: "ap-southeast-1"},
		{Continent: "AS", Display: "Jakarta", Name: "ap-southeast-3"},
		{Continent: "AS", Display: "Malaysia", Name: "ap-southeast-5"},
		{Continent: "AP", Display: "Sydney", Name: "ap-southeast-2"},
		{Continent: "AS", Display: "Tokyo", Name: "ap-northeast-1"},
		{Continent: "AS", Display: "Seoul", Name: "ap-northeast-2"},
	} {
		r.Description = "This region is recommended to serve users near " + r.Display
		r.Zones, r.Databases = zonesOf(r.Name, zones), zonesOf(r.Name, databases)
		output.Regions = append(output.Regions, r)
	}
	return output, nil
}

func zonesOf(region string, wanted bool) []zoneShape {
	zones := []zoneShape{}
	for _, letter := range "abc" {
		if wanted {
			zones = append(zones, zoneShape{region + string(letter), "available"})
		}
	}
	return zones
}
